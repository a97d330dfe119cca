/** What a function is told of a request to its URL: AWS's payload format 2.0. */
import type { IncomingHttpHeaders } from "node:http"
import { randomBytes } from "node:crypto"
import type { Exchange } from "../exchange.ts"
import { prepareRequest } from "../headers.ts"
import type { Signer } from "../route.ts"

export interface EventInput {
  readonly exchange: Exchange
  readonly urlId: string
  /** Whoever signed; nobody, where nobody need. */
  readonly signer: Signer | undefined
  readonly traceId: string
  readonly body: Buffer
  readonly at: Date
}

/** The event as JSON. */
export const toEvent = ({ exchange, urlId, signer, traceId, body, at }: EventInput): Buffer => {
  const { head, requestId } = exchange
  const [rawPath = "", ...queries] = head.path.split("?")
  const rawQueryString = queries.join("?")
  const cookies = cookiesOf(exchange.fields)
  const headers = headersOf(exchange, signer !== undefined, traceId, body)
  const host = head.host.replace(/:\d+$/, "").toLowerCase()
  const text = body.length > 0 && isText(head.headers["content-type"]) ? toText(body) : undefined
  return Buffer.from(
    JSON.stringify({
      version: "2.0",
      routeKey: "$default",
      rawPath,
      rawQueryString,
      ...(cookies.length === 0 ? {} : { cookies }),
      headers,
      ...(rawQueryString === "" ? {} : { queryStringParameters: parametersOf(rawQueryString) }),
      requestContext: {
        accountId: signer?.account ?? "anonymous",
        apiId: urlId,
        ...(signer === undefined ? {} : { authorizer: { iam: toIam(signer) } }),
        domainName: host,
        domainPrefix: urlId,
        http: {
          method: head.method,
          path: rawPath,
          protocol: exchange.protocol === "h2" ? "HTTP/2.0" : "HTTP/1.1",
          sourceIp: addressOf(exchange),
          userAgent: head.headers["user-agent"],
        },
        requestId,
        routeKey: "$default",
        stage: "$default",
        time: toTime(at),
        timeEpoch: at.getTime(),
      },
      ...(body.length === 0 ? {} : { body: text ?? body.toString("base64") }),
      isBase64Encoded: body.length > 0 && text === undefined,
    }),
  )
}

const TRACE = /^Root=1-[0-9a-f]{8}-[0-9a-f]{24}(?:;[\w=:;-]{1,200})?$/

/** The trace that a request is part of: its own, or a new one. */
export const traceOf = ({ "x-amzn-trace-id": sent }: IncomingHttpHeaders, at: Date): string =>
  typeof sent === "string" && TRACE.test(sent)
    ? sent
    : `Root=1-${Math.floor(at.getTime() / 1000)
        .toString(16)
        .padStart(8, "0")}-${randomBytes(12).toString("hex")}`

/** A key is its account's: in IAM's words, the account's root. */
const toIam = ({ accessKeyId, account }: Signer) => ({
  accessKey: accessKeyId,
  accountId: account,
  callerId: account,
  cognitoIdentity: null,
  principalOrgId: null,
  userArn: `arn:aws:iam::${account}:root`,
  userId: account,
})

const headersOf = (exchange: Exchange, isSigned: boolean, traceId: string, body: Buffer): Record<string, string> => {
  const { head, fields, requestId } = exchange
  const remoteAddress = addressOf(exchange)
  const prepared = prepareRequest(head.headers, { host: head.host, remoteAddress, requestId })
  for (const name of ["cookie", "te", "x-amzn-requestid", "x-forwarded-host"]) delete prepared[name]
  // It would be good for the next five minutes, for whoever reads it.
  if (isSigned) delete prepared.authorization
  const { version, cipherSuite } = exchange.tls()
  const port = /:(\d+)$/.exec(head.host)?.[1] ?? "443"
  return {
    ...Object.fromEntries(
      Object.entries(prepared).map(([name, value]) => [name, joined(fields, name) ?? String(value)]),
    ),
    ...(body.length === 0 ? {} : { "content-length": String(body.length) }),
    "x-forwarded-for": remoteAddress,
    "x-forwarded-port": port,
    "x-forwarded-proto": "https",
    "x-amzn-trace-id": traceId,
    "x-amzn-tls-version": version,
    "x-amzn-tls-cipher-suite": cipherSuite,
  }
}

/** The values of a field that was sent more than once; Node keeps some fields' first only, and joins the others with a space. */
const joined = (fields: readonly string[], name: string): string | undefined => {
  const values = valuesOf(fields, name)
  return values.length > 1 ? values.join(",") : undefined
}

const valuesOf = (fields: readonly string[], name: string): string[] => {
  const values: string[] = []
  for (let index = 0; index < fields.length; index += 2)
    if (fields[index]?.toLowerCase() === name) values.push(fields[index + 1] ?? "")
  return values
}

/** One each; HTTP/2 may send them in several fields. */
const cookiesOf = (fields: readonly string[]): string[] =>
  valuesOf(fields, "cookie").flatMap((value) =>
    value
      .split(";")
      .map((cookie) => cookie.trim())
      .filter((cookie) => cookie !== ""),
  )

const parametersOf = (query: string): Record<string, string> => {
  const values = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(query)) {
    const before = values.get(name)
    values.set(name, before === undefined ? value : `${before},${value}`)
  }
  return Object.fromEntries(values)
}

const TEXT =
  /^(?:text\/|application\/(?:[\w.+-]+\+)?(?:json|xml)$|application\/(?:javascript|x-javascript|ecmascript|x-www-form-urlencoded)$)/i

const isText = (contentType: string | undefined) => TEXT.test((contentType ?? "").split(";")[0]?.trim() ?? "")

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** `undefined` for bytes that would not come out of it again: compressed ones, or another encoding's. */
const toText = (body: Buffer): string | undefined => {
  try {
    return utf8.decode(body)
  } catch {
    return undefined
  }
}

const addressOf = ({ remoteAddress }: Exchange) => (remoteAddress ?? "").replace(/^::ffff:(?=\d+\.)/, "")

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

/** `31/Jan/2026:12:00:00 +0000` */
const toTime = (at: Date) => {
  const [date = "", time = ""] = at.toISOString().split("T")
  const [year, , day] = date.split("-")
  return `${day}/${MONTHS[at.getUTCMonth()]}/${year}:${time.slice(0, 8)} +0000`
}
