import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { answers, emptyAnswer, parseQuery, parseQuestion } from "../../src/net/dns-message.ts"
import { toAnswer, toName, toQuery, TYPES } from "./dns-messages.ts"

const label = fc.string({ unit: fc.constantFrom(..."abcxyzABC019-_".split("")), minLength: 1, maxLength: 63 })
const name = fc
  .array(label, { minLength: 1, maxLength: 8 })
  .map((labels) => labels.join("."))
  .filter((text) => text.length <= 253)
const word = fc.nat({ max: 0xffff })
/** A name of so many bytes on the wire. */
const nameOf = (bytes: number) => {
  const labels: string[] = []
  for (let left = bytes - 1; left > 0; left -= 1 + (labels.at(-1)?.length ?? 0))
    labels.push("a".repeat(Math.min(63, left - 1)))
  return labels.join(".")
}

describe("A question", () => {
  test("is found whatever its name, its type, and what follows it", () => {
    fc.assert(
      fc.property(word, name, word, fc.uint8Array({ maxLength: 40 }), (id, text, type, after) => {
        const query = toQuery(id, text, type, Buffer.from(after))
        expect(parseQuery(query)).toEqual({ end: 12 + toName(text).length + 4, type })
      }),
    )
  })

  test("is none when it is cut off anywhere", () => {
    fc.assert(
      fc.property(name, (text) => {
        const query = toQuery(1, text, TYPES.A)
        for (let length = 0; length < query.length; length++)
          expect(parseQuery(query.subarray(0, length))).toBeUndefined()
      }),
      { numRuns: 20 },
    )
  })

  test("of any bytes is read within them, or not at all", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const message = Buffer.from(bytes)
        for (const question of [parseQuery(message), parseQuestion(message)])
          if (question !== undefined) expect(question.end).toBeLessThanOrEqual(message.length)
      }),
      { numRuns: 1000 },
    )
  })

  test("has a name of at most 255 bytes, in labels of at most 63", () => {
    const longest = nameOf(255)
    expect(toName(longest)).toHaveLength(255)
    expect(parseQuery(toQuery(1, longest, TYPES.A))).toEqual({ end: 12 + 255 + 4, type: TYPES.A })
    const tooLong = nameOf(256)
    expect(toName(tooLong)).toHaveLength(256)
    expect(parseQuery(toQuery(1, tooLong, TYPES.A))).toBeUndefined()
    // A length of 64 or more would be a pointer, or something that was never given a meaning.
    expect(parseQuery(toQuery(1, "a".repeat(64), TYPES.A))).toBeUndefined()
    expect(
      parseQuery(Buffer.concat([toQuery(1, "a", TYPES.A).subarray(0, 12), Buffer.from([0xc0, 12, 0, 1, 0, 1])])),
    ).toBeUndefined()
  })

  test("for the root is one", () => {
    const header = toQuery(1, "a", TYPES.A).subarray(0, 12)
    expect(parseQuery(Buffer.concat([header, Buffer.from([0, 0, 2, 0, 1])]))).toEqual({ end: 17, type: 2 })
  })

  test.for<[what: string, at: number, value: number]>([
    ["a response", 2, 0x8100],
    ["a status request", 2, 0x1000],
    ["a notification", 2, 0x2000],
    ["an update", 2, 0x2800],
    ["a message without a question", 4, 0],
    ["two questions", 4, 2],
    ["a question that brings its answer", 6, 1],
  ])("isn't %s", ([, at, value]) => {
    const query = toQuery(1, "example.org", TYPES.A)
    expect(parseQuery(query)).toBeDefined()
    query.writeUInt16BE(value, at)
    expect(parseQuery(query)).toBeUndefined()
  })
})

describe("An answer", () => {
  test("without records is an answer to its question, has none of what followed it, and says why", () => {
    fc.assert(
      fc.property(
        word,
        name,
        word,
        fc.uint8Array({ maxLength: 40 }),
        fc.nat({ max: 15 }),
        (id, text, type, after, rcode) => {
          const query = toQuery(id, text, type, Buffer.from(after))
          query.writeUInt16BE(1, 10)
          const question = parseQuery(query)
          if (question === undefined) throw new Error("no question")
          const answer = emptyAnswer(query, question, rcode)
          expect(answer).toEqual(toAnswer(query, { rcode }))
          expect(answers(answer, id, query.subarray(12, question.end))).toBe(true)
        },
      ),
    )
  })

  test("says that recursion was desired only when it was", () => {
    const query = toQuery(1, "a", TYPES.A)
    query.writeUInt16BE(0, 2)
    expect(emptyAnswer(query, { end: query.length, type: TYPES.A }, 2).readUInt16BE(2)).toBe(0x8082)
  })

  test("is one to this question alone", () => {
    const query = toQuery(7, "www.example.org", TYPES.A)
    const question = query.subarray(12)
    const isAnswer = (message: Buffer, id = 7) => answers(message, id, question)
    expect(isAnswer(toAnswer(query, {}))).toBe(true)
    expect(isAnswer(toAnswer(toQuery(7, "WWW.example.ORG", TYPES.A), {})), "the name in other letters").toBe(true)
    expect(isAnswer(toAnswer(query, {}), 8), "another id").toBe(false)
    expect(isAnswer(query), "the question itself").toBe(false)
    expect(isAnswer(toAnswer(toQuery(7, "www.example.com", TYPES.A), {})), "another name").toBe(false)
    expect(isAnswer(toAnswer(toQuery(7, "www.example.org", TYPES.TXT), {})), "another type").toBe(false)
    expect(isAnswer(toAnswer(query, {}).subarray(0, 12)), "no question").toBe(false)
    expect(isAnswer(Buffer.alloc(3)), "no header").toBe(false)
  })

  test("of any bytes is looked at without harm", () => {
    const question = toQuery(7, "a", TYPES.A).subarray(12)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(answers(Buffer.from(bytes), 7, question)).toBe(false)
      }),
    )
  })
})
