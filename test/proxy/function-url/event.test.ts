import { gzipSync } from "node:zlib"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import type { UrlEvent } from "./fake-invoker.ts"
import { openUrlEdge, protocols, type Ask, type UrlEdge } from "./url-edge.ts"

let edge: UrlEdge
let events: UrlEvent[]
beforeAll(async () => void (edge = await openUrlEdge()))
afterAll(() => edge?.[Symbol.asyncDispose]())
beforeEach(() => {
  events = []
  edge.answers((event) => {
    events.push(event)
    return "ok"
  })
})

describe.each(protocols)("The event of a request over %s", (protocol) => {
  const eventOf = async (asked: Ask = {}) => {
    const answer = await edge.ask(protocol, asked)
    expect([answer.status, answer.body]).toEqual([200, "ok"])
    return { event: events.at(-1) as UrlEvent, answer }
  }

  test("is AWS's payload format 2.0, with no key that has nothing to say", async () => {
    const before = Date.now()
    const { event, answer } = await eventOf({
      path: "/p%20q/?a=1&a=2&b=%C3%A9&c",
      headers: { cookie: "c=1; d=2", "user-agent": "me", "x-two": ["1", "2"], "x-comma": "3, 4" },
    })
    const { headers, requestContext, ...rest } = event
    expect(rest).toEqual({
      version: "2.0",
      routeKey: "$default",
      rawPath: "/p%20q/",
      rawQueryString: "a=1&a=2&b=%C3%A9&c",
      cookies: ["c=1", "d=2"],
      queryStringParameters: { a: "1,2", b: "é", c: "" },
      isBase64Encoded: false,
    })
    const { time, timeEpoch, ...context } = requestContext
    expect(context).toEqual({
      accountId: "anonymous",
      apiId: edge.id,
      domainName: edge.name,
      domainPrefix: edge.id,
      http: {
        method: "GET",
        path: "/p%20q/",
        protocol: protocol === "h2" ? "HTTP/2.0" : "HTTP/1.1",
        sourceIp: "127.0.0.1",
        userAgent: "me",
      },
      requestId: answer.headers["x-amzn-requestid"],
      routeKey: "$default",
      stage: "$default",
    })
    expect(timeEpoch).toBeGreaterThanOrEqual(before)
    expect(time).toMatch(/^\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000$/)
    expect(Date.parse(String(time).replaceAll("/", " ").replace(":", " "))).toBe(
      Math.floor(Number(timeEpoch) / 1000) * 1000,
    )
    expect(headers).toMatchObject({
      host: `${edge.name}:${edge.port}`,
      "user-agent": "me",
      "x-two": "1,2",
      "x-comma": "3, 4",
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-port": String(edge.port),
      "x-forwarded-proto": "https",
      "x-amzn-trace-id": expect.stringMatching(/^Root=1-[0-9a-f]{8}-[0-9a-f]{24}$/),
      "x-amzn-tls-version": "TLSv1.3",
      "x-amzn-tls-cipher-suite": expect.stringMatching(/^TLS_/),
    })
    expect(answer.headers["x-amzn-trace-id"]).toBe(headers["x-amzn-trace-id"])
    expect(edge.invoker.requests.at(-1)).toMatchObject({
      requestId: requestContext.requestId,
      traceId: headers["x-amzn-trace-id"],
      mode: "buffered",
    })
    for (const name of Object.keys(headers)) expect(name).toMatch(/^[a-z0-9-]+$/)
    expect(Object.keys(headers)).not.toContain("cookie")
  })

  test("says of whom it comes what the edge knows, not what the client claims; and nothing of one connection only", async () => {
    const trace = "Root=1-65f0a3c1-0123456789abcdef01234567;Sampled=1"
    const { event } = await eventOf({
      headers: {
        "x-forwarded-for": "6.6.6.6",
        "x-amzn-tls-version": "SSLv3",
        "x-aws-proxy-auth": "none",
        "x-amzn-requestid": "mine",
        "x-amzn-trace-id": trace,
        authorization: "Bearer the-application's-own",
        ...(protocol === "http/1.1" ? { connection: "close, x-mine", "x-mine": "1", te: "trailers" } : {}),
      },
    })
    const { headers } = event
    expect(headers).toMatchObject({
      "x-forwarded-for": "127.0.0.1",
      "x-amzn-tls-version": "TLSv1.3",
      "x-amzn-trace-id": trace,
      authorization: "Bearer the-application's-own",
    })
    for (const name of ["x-mine", "te", "connection", "x-aws-proxy-auth", "x-amzn-requestid", "x-forwarded-host"])
      expect(Object.keys(headers)).not.toContain(name)
    const { event: other } = await eventOf({ headers: { "x-amzn-trace-id": 'Root=1-","x":"' } })
    expect(other.headers["x-amzn-trace-id"]).toMatch(/^Root=1-[0-9a-f]{8}-[0-9a-f]{24}$/)
  })

  test("of a name like an object's own members is a name like any other", async () => {
    const { event } = await eventOf({ path: "/?__proto__=1&constructor=2&%zz=%zz&=3" })
    expect(Object.entries(event.queryStringParameters ?? {})).toEqual([
      ["__proto__", "1"],
      ["constructor", "2"],
      ["%zz", "%zz"],
      ["", "3"],
    ])
  })

  test.for([
    ["text/plain", "text"],
    ["text/html; charset=utf-8", "text"],
    ["application/json", "text"],
    ["APPLICATION/JSON;x=y", "text"],
    ["application/problem+json", "text"],
    ["application/xml", "text"],
    ["image/svg+xml", "base64"],
    ["application/javascript", "text"],
    ["application/x-www-form-urlencoded", "text"],
    ["multipart/form-data; boundary=x", "base64"],
    ["application/octet-stream", "base64"],
    ["application/jsonlines", "base64"],
    [undefined, "base64"],
  ] as const)("has a body of %s as %s", async ([type, kind]) => {
    const { event } = await eventOf({
      method: "POST",
      headers: type === undefined ? {} : { "content-type": type },
      body: 'é "quoted"\n',
    })
    expect(event.isBase64Encoded).toBe(kind === "base64")
    expect(Buffer.from(event.body ?? "", kind === "text" ? "utf8" : "base64").toString()).toBe('é "quoted"\n')
    expect(event.headers["content-length"]).toBe("12")
  })

  test("has text that isn't UTF-8 in base64: no byte of it is lost", async () => {
    const body = gzipSync("hello")
    const { event } = await eventOf({ method: "POST", headers: { "content-type": "text/plain" }, body })
    expect([event.isBase64Encoded, event.body]).toEqual([true, body.toString("base64")])
  })
})
