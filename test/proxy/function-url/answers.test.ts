import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { respond, type Response } from "./fake-invoker.ts"
import { openUrlEdge, protocols, type UrlEdge } from "./url-edge.ts"

let edge: UrlEdge
beforeAll(async () => void (edge = await openUrlEdge()))
afterAll(() => edge?.[Symbol.asyncDispose]())
beforeEach(() => void Object.assign(edge.settings, { isStreamed: false, cors: null }))

describe.each(protocols)("What a function returns, over %s,", (protocol) => {
  const answerTo = (value: object | string | Response, method = "GET") => {
    edge.answers(() => value)
    return edge.ask(protocol, { method })
  }
  const failsWith = async (value: object | string | Response) => {
    const { status, body, headers } = await answerTo(value)
    expect([status, body]).toEqual([502, "Internal Server Error"])
    expect(headers["x-amzn-requestid"]).toMatch(/^[0-9a-f-]{36}$/)
  }

  test("is the answer when it has a statusCode, with its headers and cookies", async () => {
    const { status, headers, body } = await answerTo({
      statusCode: 201,
      headers: { "Content-Type": "text/plain", "X-Number": 5, "X-True": true, "x-nothing": null, "X-Ü": undefined },
      cookies: ["a=1; HttpOnly", "b=2"],
      body: "wörld",
    })
    expect([status, body]).toEqual([201, "wörld"])
    expect(headers).toMatchObject({
      "content-type": "text/plain",
      "content-length": "6",
      "x-number": "5",
      "x-true": "true",
      "set-cookie": ["a=1; HttpOnly", "b=2"],
      "x-amzn-requestid": expect.stringMatching(/^[0-9a-f-]{36}$/),
    })
    expect(headers).not.toHaveProperty("x-nothing")
  })

  test.for([
    [{ hello: "world" }, '{"hello":"world"}'],
    [["a"], '["a"]'],
    ["bare text", "bare text"],
    [respond({ body: "5" }), "5"],
    [respond({ body: "null" }), "null"],
    [respond({ body: "<not json>" }), "<not json>"],
    [respond({ body: "" }), ""],
  ] as const)("is JSON as it is without one: %j", async ([value, told]) => {
    const { status, headers, body } = await answerTo(value)
    expect([status, headers["content-type"], body]).toEqual([200, "application/json", told])
  })

  test("may be bytes in base64, or nothing", async () => {
    const bytes = Buffer.from([0, 255, 10, 13, 128])
    const answer = await answerTo({
      statusCode: 200,
      headers: { "content-type": "image/png" },
      isBase64Encoded: true,
      body: bytes.toString("base64"),
    })
    expect([answer.bytes, answer.headers["content-length"]]).toEqual([bytes, "5"])
    const empty = await answerTo({ statusCode: 200 })
    expect([empty.status, empty.body, empty.headers["content-type"], empty.headers["content-length"]]).toEqual([
      200,
      "",
      "application/json",
      "0",
    ])
    expect((await answerTo({ statusCode: "404", body: null })).status).toBe(404)
  })

  test("of 6 MB arrives whole", async () => {
    const { bytes, status } = await answerTo({ statusCode: 200, body: "x".repeat(6_000_000) })
    expect([status, bytes.length]).toEqual([200, 6_000_000])
  })

  test.for([99, 100, 101, 103, 199, 600, 1000, 200.5, -1, "20x", null, true, {}])(
    "is no answer with a statusCode of %j",
    (statusCode) => failsWith({ statusCode, body: "x" }),
  )

  test.for([
    ["a body that is no text", { body: { a: 1 } }],
    ["headers that are no object", { headers: ["a"] }],
    ["a header's value that is none", { headers: { a: ["b"] } }],
    ["a value with a line's end", { headers: { a: "b\r\nset-cookie: c=1" } }],
    ["a value with a bare LF", { headers: { a: "b\nc: d" } }],
    ["a value with a NUL", { headers: { a: "b\0" } }],
    ["a name with a line's end", { headers: { "a\r\nb": "c" } }],
    ["a name with a space", { headers: { "a b": "c" } }],
    ["an empty name", { headers: { "": "c" } }],
    ["a name of HTTP/2's own", { headers: { ":status": "200" } }],
    ["cookies that are no list", { cookies: "a=1" }],
    ["a cookie that is no text", { cookies: [{ a: 1 }] }],
    ["a cookie with a line's end", { cookies: ["a=1\r\nx-injected: 1"] }],
    ["5 MB of headers", { headers: { a: "x".repeat(5_000_000) } }],
    ["many small headers", { headers: Object.fromEntries(Array.from({ length: 5000 }, (_, at) => [`h${at}`, "x"])) }],
    ["many cookies", { cookies: Array.from({ length: 5000 }, () => "a=1") }],
  ] as const)("is no answer with %s", ([, more]) => failsWith({ statusCode: 200, ...more }))

  test("is no answer when the function failed, before or behind its first byte", async () => {
    await failsWith(respond({ error: "Unhandled" }))
    await failsWith(respond({ error: "Sandbox.Timedout", body: '{"statusCode":200,"body":"half' }))
    await failsWith(respond({ body: "x".repeat(7_000_000) }))
  })

  test("cannot frame its answer, speak as the edge, or set its neighbours' cookies", async () => {
    const { status, headers, body } = await answerTo({
      statusCode: 200,
      headers: {
        "Content-Length": "3",
        "Transfer-Encoding": "chunked",
        Connection: "close, x-gone",
        "X-Gone": "1",
        "Keep-Alive": "timeout=1",
        Upgrade: "h2c",
        "X-Aws-Proxy-Error": "INTERNAL",
        "x-amzn-requestid": "mine",
        "X-Ünnamed": undefined,
        "x-utf": "ü€",
        "set-cookie": "c=3",
        "Clear-Site-Data": '"cookies"',
      },
      cookies: ["a=1; Domain=localhost", "b=2"],
      body: "hello",
    })
    expect([status, body, headers["content-length"]]).toEqual([200, "hello", "5"])
    expect(headers["set-cookie"]).toEqual(["c=3", "b=2"])
    expect(Buffer.from(String(headers["x-utf"]), "latin1").toString()).toBe("ü€")
    expect(headers["x-amzn-requestid"]).toMatch(/^[0-9a-f-]{36}$/)
    for (const name of ["x-gone", "x-aws-proxy-error", "upgrade", "transfer-encoding", "clear-site-data"])
      expect(headers).not.toHaveProperty(name)
  })

  test.for([204, 304])("ends with its head when its status is %i, whatever body it has", async (statusCode) => {
    const { status, body, headers } = await answerTo({ statusCode, body: "HTTP/1.1 200 OK\r\n\r\n" })
    expect([status, body, headers["content-length"]]).toEqual([statusCode, "", undefined])
  })

  test("has no body for HEAD, and says how long it would be", async () => {
    const { status, body, headers } = await answerTo({ statusCode: 200, body: "hello" }, "HEAD")
    expect([status, body, headers["content-length"]]).toEqual([200, "", "5"])
  })

  test("with a prelude is taken apart where the URL doesn't stream, too", async () => {
    const contentType = "application/vnd.awslambda.http-integration-response"
    const { status, body, headers } = await answerTo(
      respond({ contentType, body: `{"statusCode":418,"headers":{"content-type":"text/plain"}}${"\0".repeat(8)}tea` }),
    )
    expect([status, headers["content-type"], body]).toEqual([418, "text/plain", "tea"])
    await failsWith(respond({ contentType, body: "no prelude" }))
  })
})
