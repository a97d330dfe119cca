import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { createOutput, type Output } from "../../images/agent/output.ts"
import type { OutputFrame } from "../../src/agent/protocol.ts"

const KEPT = 512 * 1024
const lengthOf = (frames: readonly OutputFrame[]) =>
  frames.reduce((sum, frame) => sum + ("data" in frame ? frame.data.length : "dropped" in frame ? frame.dropped : 0), 0)
const followed = async (output: Output) => {
  const frames: OutputFrame[] = []
  for await (const frame of output.follow()) frames.push(frame)
  return frames
}

describe("The output of a process", () => {
  test("is read by each reader from its beginning, at its own pace, with nothing lost or twice", () => {
    const step = fc.oneof(
      fc.record({
        stream: fc.constantFrom("stdout" as const, "stderr" as const),
        length: fc.integer({ min: 1, max: 200_000 }),
      }),
      fc.constantFrom("first", "second"),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const output = createOutput()
        const readers = { first: output.read(), second: output.read() }
        const seen = { first: [] as OutputFrame[], second: [] as OutputFrame[] }
        let said = ""
        for (const [index, one] of steps.entries()) {
          if (one === "first" || one === "second") seen[one].push(...readers[one].take())
          else {
            const data = String.fromCharCode(33 + (index % 90)).repeat(one.length)
            said += data
            output.add(one.stream, data)
          }
        }
        for (const name of ["first", "second"] as const) {
          for (let more = readers[name].take(); more.length > 0; more = readers[name].take()) seen[name].push(...more)
          // Every piece stands where its process said it.
          let at = 0
          for (const frame of seen[name]) {
            if ("data" in frame) expect(frame.data).toBe(said.slice(at, at + frame.data.length))
            at += lengthOf([frame])
          }
          expect(at).toBe(said.length)
          expect(readers[name].at).toBe(output.said)
        }
      }),
      { numRuns: 60 },
    )
  })

  test("is told to listeners from its beginning or from now on, until they have heard enough", () => {
    const output = createOutput()
    output.add("stdout", "a")
    const [all, rest]: [OutputFrame[], OutputFrame[]] = [[], []]
    output.listen((frame) => all.push(frame), true)
    const leave = output.listen((frame) => rest.push(frame), false)
    output.add("stderr", "b")
    leave()
    output.end({ code: 0, signal: null })
    const [a, b, end] = [
      { stream: "stdout", data: "a" },
      { stream: "stderr", data: "b" },
      { end: { code: 0, signal: null } },
    ]
    expect([all, rest]).toEqual([[a, b, end], [b]])
    const late: OutputFrame[] = []
    output.listen((frame) => late.push(frame), true)
    expect(late).toEqual([a, b, end])
  })

  test("keeps the end of a flood, and says how much of it is lost", async () => {
    const output = createOutput()
    for (let line = 0; line < 100_000; line++) output.add("stdout", `line ${line}\n`)
    output.end({ code: 0, signal: null })
    const [lost, ...kept] = await followed(output)
    expect(lost).toEqual({ dropped: output.said - lengthOf(kept) })
    expect(lengthOf(kept)).toBeLessThan(KEPT)
    expect(kept.slice(-2)).toEqual([{ stream: "stdout", data: "line 99999\n" }, { end: { code: 0, signal: null } }])
  })

  test("of single characters takes no more memory than any other", async () => {
    const output = createOutput()
    for (let count = 0; count < 1_000_000; count++) output.add(count % 2 === 0 ? "stdout" : "stderr", "x")
    output.end({ code: 0, signal: null })
    const frames = await followed(output)
    expect(frames.length).toBeLessThan(10_000)
    expect(lengthOf(frames)).toBe(1_000_000)
  })

  test("is followed while it is said", async () => {
    const output = createOutput()
    const following = followed(output)
    for (const data of ["one", "two"]) {
      output.add("stderr", data)
      await Promise.resolve()
    }
    output.end({ code: 3, signal: null })
    expect(await following).toEqual([
      { stream: "stderr", data: "one" },
      { stream: "stderr", data: "two" },
      { end: { code: 3, signal: null } },
    ])
  })
})
