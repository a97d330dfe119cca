import { once } from "node:events"
import { PassThrough, Readable } from "node:stream"
import { text } from "node:stream/consumers"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { eventually } from "../../fixtures/eventually.ts"
import { respond, type Response } from "./fake-invoker.ts"
import { openUrlEdge, protocols, type UrlEdge } from "./url-edge.ts"

const WITH_PRELUDE = "application/vnd.awslambda.http-integration-response"
const NUL = Buffer.alloc(8)

let edge: UrlEdge
beforeAll(async () => void (edge = await openUrlEdge()))
afterAll(() => edge?.[Symbol.asyncDispose]())
beforeEach(() => void (edge.settings.isStreamed = true))

describe.each(protocols)("What a function streams, over %s,", (protocol) => {
  const answerTo = (response: Response, method = "GET") => {
    edge.answers(() => respond(response))
    return edge.ask(protocol, { method })
  }

  test("is passed on as it comes, with the type that the runtime said", async () => {
    const body = new PassThrough()
    edge.answers(() => respond({ body, contentType: "text/event-stream" }))
    const { response } = edge.open(protocol, { body: "" })
    body.write("one")
    const { status, headers, body: got } = await response
    expect([status, headers["content-type"], headers["content-length"]]).toEqual([200, "text/event-stream", undefined])
    expect(String((await once(got, "data"))[0])).toBe("one")
    body.write("two")
    expect(String((await once(got, "data"))[0])).toBe("two")
    body.end("three")
    expect(await text(got)).toBe("three")
    expect(edge.invoker.requests.at(-1)?.mode).toBe("streaming")
  })

  test("may begin with its status, headers and cookies, however they are cut into pieces", async () => {
    const whole = Buffer.concat([
      Buffer.from('{"statusCode":201,"headers":{"X-A":"b","content-type":"text/plain"},"cookies":["c=1"]}'),
      NUL,
      Buffer.from("\0\0body\0"),
    ])
    for (const size of [1, 7, whole.length]) {
      const pieces = Array.from({ length: Math.ceil(whole.length / size) }, (_, at) =>
        whole.subarray(at * size, (at + 1) * size),
      )
      const { status, headers, body } = await answerTo({
        contentType: WITH_PRELUDE,
        body: Readable.from(pieces, { objectMode: true }),
      })
      expect([status, headers["x-a"], headers["set-cookie"], headers["content-type"], body]).toEqual([
        201,
        "b",
        ["c=1"],
        "text/plain",
        "\0\0body\0",
      ])
    }
  })

  test("has its head sent as soon as it is known, before there is any body", async () => {
    const body = new PassThrough()
    edge.answers(() => respond({ body, contentType: WITH_PRELUDE }))
    const { response } = edge.open(protocol, { body: "" })
    body.write(Buffer.concat([Buffer.from("{}"), NUL]))
    const answer = await response
    expect([answer.status, answer.headers["content-type"]]).toEqual([200, "application/json"])
    body.end("late")
    expect(await text(answer.body)).toBe("late")
  })

  test.for([
    ["a prelude that isn't JSON", { contentType: WITH_PRELUDE, body: Buffer.concat([Buffer.from("{"), NUL]) }],
    ["a prelude that is no object", { contentType: WITH_PRELUDE, body: Buffer.concat([Buffer.from("[]"), NUL]) }],
    ["no end of its prelude", { contentType: WITH_PRELUDE, body: "x".repeat(200_000) }],
    ["a prelude that never ends", { contentType: WITH_PRELUDE, body: Readable.from(endless(), { objectMode: false }) }],
    ["a status of 101", { contentType: WITH_PRELUDE, body: Buffer.concat([Buffer.from('{"statusCode":101}'), NUL]) }],
    [
      "a header with a line's end",
      { contentType: WITH_PRELUDE, body: Buffer.concat([Buffer.from('{"headers":{"a":"b\\r\\nc: d"}}'), NUL]) },
    ],
    ["a type with a line's end", { contentType: "text/plain\r\nx-injected: 1", body: "x" }],
    ["a failure before its first byte", { error: "Unhandled" }],
    ["a failure within its prelude", { contentType: WITH_PRELUDE, body: '{"statusCode":', error: "Unhandled" }],
  ] as const)("is no answer with %s", async ([, response]) => {
    const { status, body } = await answerTo(response)
    expect([status, body]).toEqual([502, "Internal Server Error"])
  })

  test("and fails behind its first byte is broken off, not ended", async () => {
    const body = new PassThrough()
    edge.answers(() => respond({ body, error: "Sandbox.Timedout" }))
    const { response } = edge.open(protocol, { body: "" })
    body.write("half")
    const answer = await response
    expect(answer.status).toBe(200)
    expect(String((await once(answer.body, "data"))[0])).toBe("half")
    const ended = text(answer.body)
    body.end()
    await expect(ended).rejects.toThrow()
  })

  test("and is cut off with its environment is broken off", async () => {
    const body = new PassThrough()
    edge.answers(() => respond({ body }))
    const { response } = edge.open(protocol, { body: "" })
    body.write("half")
    const answer = await response
    const ended = text(answer.body)
    body.destroy()
    await expect(ended).rejects.toThrow()
  })

  test("comes at the client's pace: whoever reads nothing has the function held back, and is cut off in time", async () => {
    await using hasty = await openUrlEdge({ idleTimeoutSeconds: 1 })
    hasty.settings.isStreamed = true
    let made = 0
    const body = Readable.from(
      (async function* () {
        for (; made < 4000; made++) yield Buffer.alloc(65_536)
      })(),
      { objectMode: false },
    )
    hasty.answers(() => respond({ body }))
    const { response, leave } = hasty.open(protocol, { body: "" })
    const answer = await response
    answer.body.pause()
    await eventually(() => expect(body.destroyed).toBe(true))
    expect(made).toBeLessThan(1000)
    answer.body.on("error", () => {})
    leave()
  })

  test("ends with its head for HEAD", async () => {
    const body = new PassThrough()
    body.write("never read")
    const { status, body: got, headers } = await answerTo({ body, contentType: "text/plain" }, "HEAD")
    expect([status, got, headers["content-type"]]).toEqual([200, "", "text/plain"])
    await eventually(() => expect(body.destroyed).toBe(true))
  })

  test("goes nowhere once its client has left: the invocation is not told to stop", async () => {
    const body = new PassThrough()
    let signal: AbortSignal | undefined
    edge.answers((_event, _request, gone) => {
      signal = gone
      return respond({ body })
    })
    const { response, leave } = edge.open(protocol, { body: "" })
    body.write("half")
    const answer = await response
    answer.body.on("error", () => {})
    leave()
    await eventually(() => expect([body.destroyed, signal?.aborted]).toEqual([true, true]))
  })
})

async function* endless() {
  for (;;) yield Buffer.alloc(1000, "x")
}
