import fc from "fast-check"
import { afterAll, beforeAll, expect, test } from "vitest"
import { respond } from "./fake-invoker.ts"
import { openUrlEdge, protocols, type UrlEdge } from "./url-edge.ts"

let edge: UrlEdge
beforeAll(async () => void (edge = await openUrlEdge()))
afterAll(() => edge?.[Symbol.asyncDispose]())

const NAMES = ["content-length", "Transfer-Encoding", "connection", "upgrade", "trailer", "te", "date", "__proto__"]
const name = fc.oneof(fc.constantFrom(...NAMES, "set-cookie", "content-type", "x-a"), fc.string({ unit: "binary" }))
const value = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("5", "chunked", "close, content-type", "a\r\nb: c", "trailers", "\u0080ÿ€"),
  fc.jsonValue(),
)
const answer = fc.record(
  {
    statusCode: fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 190, max: 610 }) }, fc.jsonValue()),
    headers: fc.oneof({ weight: 4, arbitrary: fc.dictionary(name, value, { maxKeys: 5 }) }, fc.jsonValue()),
    cookies: fc.oneof({ weight: 2, arbitrary: fc.array(value, { maxLength: 3 }) }, fc.jsonValue()),
    body: fc.oneof({ weight: 4, arbitrary: fc.string({ unit: "binary" }) }, fc.jsonValue()),
    isBase64Encoded: fc.oneof(fc.boolean(), fc.jsonValue()),
  },
  { requiredKeys: ["statusCode"] },
)
const anything = fc.oneof({ weight: 3, arbitrary: answer.map((one) => JSON.stringify(one)) }, fc.json(), fc.string())

/** What an answer says of itself, NaN where that can be no status; nothing, where it describes none. */
const statusOf = (text: string): number | undefined => {
  try {
    const status = (JSON.parse(text) as { statusCode?: unknown } | null)?.statusCode ?? undefined
    return typeof status === "object" ? NaN : status === undefined ? undefined : Number(status)
  } catch {
    return undefined
  }
}

test.for(protocols)(
  "Whatever a function answers over %s, its client gets that answer or a 502, and never half of one",
  async (protocol) => {
    await fc.assert(
      fc.asyncProperty(anything, fc.boolean(), fc.constantFrom("GET", "HEAD"), async (text, isStreamed, method) => {
        edge.settings.isStreamed = isStreamed
        edge.answers(() =>
          respond(
            isStreamed
              ? {
                  contentType: "application/vnd.awslambda.http-integration-response",
                  body: `${text}${"\0".repeat(8)}b`,
                }
              : { body: text },
          ),
        )
        const { status, body } = await edge.ask(protocol, { method })
        if (status === 502 && statusOf(text) !== 502) expect(["Internal Server Error", ""]).toContain(body)
        else expect(status).toBe(statusOf(text) ?? 200)
      }),
      { numRuns: 150 },
    )
    // None of them was a fault of the edge's own.
    expect(await edge.metrics.metrics()).not.toContain('torpor_edge_refusals_total{error="INTERNAL"}')
  },
)
