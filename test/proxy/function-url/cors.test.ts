import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { openUrlEdge, protocols, publicPolicy, type UrlEdge } from "./url-edge.ts"

const [PAGE, OTHER] = ["https://app.example", "https://evil.example"]

let edge: UrlEdge
beforeAll(async () => void (edge = await openUrlEdge()))
afterAll(() => edge?.[Symbol.asyncDispose]())
beforeEach(() => {
  edge.answers(() => ({
    statusCode: 200,
    headers: { "access-control-allow-origin": OTHER, "access-control-max-age": "9", vary: "accept" },
    body: "answer",
  }))
  Object.assign(edge.settings, {
    authType: "NONE",
    isStreamed: false,
    statements: publicPolicy,
    cors: {
      AllowOrigins: [PAGE, "http://localhost:3000"],
      AllowMethods: ["GET", "PUT"],
      AllowHeaders: ["x-one", "content-type"],
      ExposeHeaders: ["date", "x-two"],
      AllowCredentials: true,
      MaxAge: 300,
    },
  })
})

/** What an answer says of CORS. */
const said = (headers: Record<string, unknown>) =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      name.startsWith("access-control-") ? [[name.slice("access-control-".length), value]] : [],
    ),
  )
const preflight = (origin: string) => ({
  method: "OPTIONS",
  headers: { origin, "access-control-request-method": "PUT" },
})

describe.each(protocols)("CORS over %s", (protocol) => {
  test("answers a preflight itself, whoever may invoke", async () => {
    Object.assign(edge.settings, { authType: "AWS_IAM", statements: [] })
    const before = edge.invoker.requests.length
    const { status, headers, body } = await edge.ask(protocol, preflight(PAGE))
    expect([status, body, headers["vary"], said(headers)]).toEqual([
      200,
      "",
      "Origin",
      {
        "allow-origin": PAGE,
        "allow-methods": "GET,PUT",
        "allow-headers": "x-one,content-type",
        "allow-credentials": "true",
        "expose-headers": "date,x-two",
        "max-age": "300",
      },
    ])
    const other = await edge.ask(protocol, preflight(OTHER))
    expect([other.status, said(other.headers)]).toEqual([200, {}])
    expect(edge.invoker.requests).toHaveLength(before)
  })

  test.for([false, true])("goes before what the function says of it; the answer streamed: %s", async (isStreamed) => {
    edge.settings.isStreamed = isStreamed
    const answer = await edge.ask(protocol, { headers: { origin: PAGE } })
    expect(answer.body).toContain("answer")
    expect(said(answer.headers)).toEqual({
      "allow-origin": PAGE,
      "allow-credentials": "true",
      "expose-headers": "date,x-two",
    })
    expect(answer.headers["vary"]).toBe(isStreamed ? "Origin" : "accept, Origin")
    for (const headers of [{}, { origin: OTHER }])
      expect(said((await edge.ask(protocol, { headers })).headers)).toEqual({})
  })

  test("lets any origin in with a star", async () => {
    edge.settings.cors = { AllowOrigins: ["*"] }
    const answer = await edge.ask(protocol, { headers: { origin: OTHER } })
    expect([said(answer.headers), answer.headers["vary"]]).toEqual([{ "allow-origin": "*" }, "accept"])
    expect(said((await edge.ask(protocol, preflight(OTHER))).headers)).toEqual({ "allow-origin": "*" })
  })

  test("lets a page read why it was refused", async () => {
    edge.settings.statements = []
    const { status, headers } = await edge.ask(protocol, { headers: { origin: PAGE } })
    expect([status, said(headers)["allow-origin"]]).toEqual([403, PAGE])
  })

  test("is all the function's where nothing is configured, preflights too", async () => {
    for (const cors of [null, {}, { AllowMethods: ["GET"] }]) {
      edge.settings.cors = cors
      const { body, headers } = await edge.ask(protocol, preflight(PAGE))
      expect([body, said(headers)]).toEqual(["answer", { "allow-origin": OTHER, "max-age": "9" }])
    }
    edge.settings.statements = []
    expect((await edge.ask(protocol, preflight(PAGE))).status).toBe(403)
  })

  test("takes an OPTIONS without a question for a request", async () => {
    const { body } = await edge.ask(protocol, { method: "OPTIONS", headers: { origin: PAGE } })
    expect(body).toBe("answer")
  })
})
