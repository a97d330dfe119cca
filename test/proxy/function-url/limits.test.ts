import { once } from "node:events"
import { connect as connectTls } from "node:tls"
import { PassThrough } from "node:stream"
import { text } from "node:stream/consumers"
import { describe, expect, test } from "vitest"
import { ServiceError } from "../../../src/errors.ts"
import { eventually } from "../../fixtures/eventually.ts"
import { respond } from "./fake-invoker.ts"
import { openUrlEdge, protocols, type UrlEdge } from "./url-edge.ts"

const SIX_MB = 6 * 1024 * 1024
const TOO_LARGE = '{"Message":"Request must be smaller than 6291456 bytes for the InvokeFunction operation"}'
const rateExceeded = (reason: string) => JSON.stringify({ Type: "User", message: "Rate Exceeded.", Reason: reason })

const metric = async (edge: UrlEdge, name: string, labels: Record<string, string>) =>
  (await edge.metrics.getMetricsAsJSON())
    .find((one) => one.name === name)
    ?.values.find((value) =>
      Object.entries(labels).every(([label, wanted]) => (value.labels as Record<string, unknown>)[label] === wanted),
    )?.value

describe.each(protocols)("Over %s", (protocol) => {
  test("a body may have 6 MB; more is refused as soon as that is known, and nothing is invoked", async () => {
    await using edge = await openUrlEdge()
    edge.answers(({ body = "", isBase64Encoded }) => ({
      statusCode: 200,
      body: String(Buffer.from(body, isBase64Encoded ? "base64" : "utf8").length),
    }))
    const type = { "content-type": "text/plain" }
    const most = await edge.ask(protocol, { method: "POST", headers: type, body: "x".repeat(SIX_MB - 4096) })
    expect([most.status, most.body]).toEqual([200, String(SIX_MB - 4096)])
    const count = edge.invoker.requests.length

    // Said in its head: nothing of it is awaited.
    const { response } = edge.open(protocol, {
      method: "POST",
      headers: { ...type, "content-length": String(SIX_MB + 1) },
    })
    const told = await response
    expect([told.status, await text(told.body)]).toEqual([413, TOO_LARGE])

    const { response: late, request } = edge.open(protocol, { method: "POST", headers: type })
    request.on("error", () => {})
    for (let sent = 0; sent <= SIX_MB; sent += 262_144) request.write(Buffer.alloc(262_144, "x"))
    const answer = await late
    expect([answer.status, await text(answer.body)]).toEqual([413, TOO_LARGE])

    // What is to be base64 is too large for an event before.
    const bytes = await edge.ask(protocol, { method: "POST", body: Buffer.alloc(5 * 1024 * 1024) })
    expect([bytes.status, bytes.body]).toEqual([413, TOO_LARGE])
    expect(edge.invoker.requests).toHaveLength(count)
  })

  test("a body that stops coming is given up; one whose client leaves is nobody's", async () => {
    await using hasty = await openUrlEdge({ idleTimeoutSeconds: 1 })
    const slow = hasty.open(protocol, { method: "POST" })
    slow.request.write("half")
    const { status, headers, body } = await slow.response
    expect([status, headers["x-aws-proxy-error"], await text(body)]).toEqual([
      408,
      "REQUEST_TIMEOUT",
      "The request's body did not come in time",
    ])
    await using edge = await openUrlEdge()
    const gone = edge.open(protocol, { method: "POST" })
    gone.response.catch(() => {})
    gone.request.on("error", () => {})
    gone.request.write("half")
    await eventually(async () =>
      expect(await metric(edge, "torpor_function_url_open_requests", { mode: "buffered" })).toBe(1),
    )
    gone.leave()
    await eventually(async () =>
      expect(await metric(edge, "torpor_function_url_open_requests", { mode: "buffered" })).toBe(0),
    )
    expect([...hasty.invoker.requests, ...edge.invoker.requests]).toHaveLength(0)
  })

  test("whoever waits to be asked for a body is asked when it is let in, and not before", async () => {
    await using edge = await openUrlEdge()
    edge.answers(({ body }) => ({ statusCode: 200, body }))
    const send = async () => {
      const { request, response } = edge.open(protocol, {
        method: "POST",
        headers: { expect: "100-continue", "content-type": "text/plain", "content-length": "5" },
      })
      let isAsked = false
      request.once("continue", () => {
        isAsked = true
        request.end("hello")
      })
      const answer = await response
      return [answer.status, await text(answer.body), isAsked]
    }
    expect(await send()).toEqual([200, "hello", true])
    edge.settings.statements = []
    expect(await send()).toEqual([403, expect.stringContaining("Forbidden"), false])
  })

  test("whoever doesn't read an answer is cut off in time", async () => {
    await using edge = await openUrlEdge({ idleTimeoutSeconds: 1 })
    edge.answers(() => ({ statusCode: 200, body: "x".repeat(6_000_000) }))
    const { response, leave } = edge.open(protocol, { body: "" })
    const { status, body } = await response
    expect(status).toBe(200)
    body.on("error", () => {}).pause()
    await eventually(async () =>
      expect(await metric(edge, "torpor_function_url_open_requests", { mode: "buffered" })).toBe(0),
    )
    leave()
  })

  test("throttles and refusals of the invoker are told in AWS's words", async () => {
    await using edge = await openUrlEdge()
    const refuses = async (error: Error) => {
      edge.answers(() => Promise.reject(error))
      const { status, body, headers } = await edge.ask(protocol)
      return [status, headers["x-amzn-errortype"], body]
    }
    const reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
    expect(
      await refuses(new ServiceError("TooManyRequestsException", 429, "Rate Exceeded.", { Reason: reason })),
    ).toEqual([429, "TooManyRequestsException", rateExceeded(reason)])
    expect(await refuses(new ServiceError("ResourceNotFoundException", 404, "Function not found: f"))).toEqual([
      403,
      "AccessDeniedException",
      '{"Message":null}',
    ])
    expect(await refuses(new ServiceError("ResourceConflictException", 409, "It is Pending"))).toEqual([
      409,
      "ResourceConflictException",
      '{"message":"It is Pending"}',
    ])
    edge.answers(() => Promise.reject(new Error("a fault with a secret in it")))
    const { status, body, headers } = await edge.ask(protocol)
    expect([status, headers["x-aws-proxy-error"], body]).toEqual([500, "INTERNAL", "Internal error"])
  })

  test("one URL's open requests are bounded; the edge's own throttle says whose it is", async () => {
    await using edge = await openUrlEdge({ maxRequestsPerVm: 2 })
    const held = [new PassThrough(), new PassThrough()]
    let at = 0
    edge.settings.isStreamed = true
    edge.answers(() => respond({ body: held[at++] ?? "more" }))
    const open = held.map(() => edge.open(protocol, { body: "" }))
    for (const one of held) one.write("begun")
    await Promise.all(open.map(({ response }) => response))
    const { status, body, headers } = await edge.ask(protocol)
    expect([status, headers["x-aws-proxy-error"], headers["retry-after"], body]).toEqual([
      429,
      "TOO_MANY_REQUESTS",
      "1",
      rateExceeded("CallerRateLimitExceeded"),
    ])
    for (const one of held) one.end()
    for (const { response } of open) await text((await response).body)
    await eventually(async () => expect((await edge.ask(protocol)).body).toBe("more"))
  })

  test("what is held of bodies is bounded, and given back when they are gone", async () => {
    await using edge = await openUrlEdge({ maxUrlMiB: 8 })
    const begin = () => {
      const begun = edge.open(protocol, { method: "POST" })
      const slowly = { ...begun, isOver: false }
      const over = () => void (slowly.isOver = true)
      begun.request.on("error", () => {}).once("close", over)
      begun.response.then(over, over)
      begun.request.write(Buffer.alloc(2 * 1024 * 1024))
      return slowly
    }
    let slow = begin()
    await eventually(async () => {
      // On a busy machine its handshake may have taken too long, or its bytes come last and be those that are refused.
      if (slow.isOver) {
        slow.leave()
        slow = begin()
      }
      const { status, body, headers } = await edge.ask(protocol, {
        method: "POST",
        headers: { "content-type": "text/plain" },
        body: "x".repeat(3 * 1024 * 1024),
      })
      expect([status, headers["x-aws-proxy-error"], body]).toEqual([
        429,
        "TOO_MANY_REQUESTS",
        rateExceeded("CallerRateLimitExceeded"),
      ])
    })
    slow.leave()
    await eventually(async () =>
      expect(
        (
          await edge.ask(protocol, {
            method: "POST",
            headers: { "content-type": "text/plain" },
            body: "x".repeat(3 * 1024 * 1024),
          })
        ).status,
      ).toBe(200),
    )
  })

  test("what is carried keeps to a URL's bandwidth and rate, where they are configured, and is whole", async () => {
    await using edge = await openUrlEdge({ bandwidthMiBPerSecondPerVm: 50, requestsPerSecondPerVm: 2 })
    const body = Buffer.alloc(2 * 1024 * 1024, "0123456789")
    const send = () => edge.ask(protocol, { method: "POST", body })
    edge.answers((event) => ({ statusCode: 200, isBase64Encoded: true, body: event.body }))
    expect((await send()).bytes.equals(body)).toBe(true)
    edge.settings.isStreamed = true
    edge.answers((event) => respond({ body: Buffer.from(event.body ?? "", "base64") }))
    expect((await send()).bytes.equals(body)).toBe(true)
    await eventually(async () => {
      const answers = await Promise.all(Array.from({ length: 8 }, () => edge.ask(protocol, { body: "" })))
      expect(answers.map(({ status }) => status)).toContain(429)
    })
  })

  test("a client that leaves while its event waits gives up its place, and what is answered then is dropped", async () => {
    await using edge = await openUrlEdge()
    const body = new PassThrough()
    const { promise, resolve } = Promise.withResolvers<undefined>()
    let signal: AbortSignal | undefined
    edge.answers(async (_event, _request, gone) => {
      signal = gone
      await promise
      return respond({ body })
    })
    const { response, leave } = edge.open(protocol, { body: "" })
    response.catch(() => {})
    await eventually(() => expect(signal).toBeDefined())
    leave()
    await eventually(() => expect(signal?.aborted).toBe(true))
    resolve(undefined)
    await eventually(() => expect(body.destroyed).toBe(true))
  })

  test("requests are counted by how the URL answers, refusals by their names, and URLs are no labels", async () => {
    await using edge = await openUrlEdge()
    await edge.ask(protocol, { method: "POST", body: "12345" })
    edge.answers(() => ({ statusCode: 500, body: "x" }))
    await edge.ask(protocol)
    edge.settings.isStreamed = true
    edge.answers(() => respond({ body: "streamed" }))
    await edge.ask(protocol)
    edge.settings.statements = []
    await edge.ask(protocol)
    const total = "torpor_function_url_requests_total"
    const becomes = (name: string, labels: Record<string, string>, value: number) =>
      eventually(async () => expect(await metric(edge, name, labels)).toBe(value))
    await becomes(total, { mode: "streamed", status: "2xx" }, 1)
    await becomes(total, { mode: "buffered", status: "2xx" }, 1)
    await becomes(total, { mode: "buffered", status: "5xx" }, 1)
    await becomes("torpor_function_url_bytes_total", { mode: "buffered", direction: "in" }, 5)
    await becomes("torpor_function_url_bytes_total", { mode: "streamed", direction: "out" }, 8)
    await becomes("torpor_edge_requests_total", { protocol, status: "2xx" }, 2)
    await becomes("torpor_edge_refusals_total", { error: "AccessDeniedException" }, 1)
    expect(await edge.metrics.metrics()).not.toContain(edge.id)
  })
})

test("WebSockets are refused", async () => {
  await using edge = await openUrlEdge()
  const { request } = edge.open("http/1.1", {
    headers: {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      "sec-websocket-version": "13",
    },
    body: "",
  })
  const [answer] = (await once(request, "response")) as [PassThrough & { statusCode: number }]
  expect([answer.statusCode, await text(answer)]).toEqual([400, "Function URLs take no WebSockets"])
  expect(edge.invoker.requests).toHaveLength(0)
})

test("Two hosts in one request are refused before anybody looks whose they are", async () => {
  await using edge = await openUrlEdge()
  const socket = connectTls({ port: edge.port, host: "127.0.0.1", servername: edge.name, ca: edge.ca })
  socket.write(`GET / HTTP/1.1\r\nHost: ${edge.name}\r\nHost: other.lambda-url.localhost\r\nConnection: close\r\n\r\n`)
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 400 /)
  expect(edge.invoker.requests).toHaveLength(0)
})
