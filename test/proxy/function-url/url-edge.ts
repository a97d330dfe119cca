/** The edge over real TLS with one function URL, whose function is the test's; asked over HTTP/1.1 and HTTP/2. */
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { request as send } from "node:https"
import { connect } from "node:http2"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Readable } from "node:stream"
import { buffer } from "node:stream/consumers"
import { Registry } from "prom-client"
import { allowsUrl } from "../../../machines/functions/urls/access.ts"
import { ensureCertificates } from "../../../proxy/certificates.ts"
import { createEdgeMetrics } from "../../../proxy/metrics.ts"
import type { FunctionUrlRouter, FunctionUrlTarget } from "../../../proxy/route.ts"
import { openEdge, type EdgeLimits } from "../../../proxy/server.ts"
import { createUrlSignatures } from "../../../src/api/aws/functions/url-signatures.ts"
import { createVerifier } from "../../../src/api/aws/sigv4.ts"
import { parseConfig } from "../../../src/config.ts"
import type { PolicyStatement, UrlCors } from "../../../src/db/function-values.ts"
import { createLog } from "../../../src/log.ts"
import { openTokenKeys } from "../../../src/tokens/keys.ts"
import { createTokens } from "../../../src/tokens/tokens.ts"
import { createMemoryKeyStore } from "../../tokens/memory-key-store.ts"
import { createFakeInvoker, type Handler } from "./fake-invoker.ts"

export const protocols = ["http/1.1", "h2"] as const
type Protocol = (typeof protocols)[number]

export const region = "us-east-1"
export const [owner, stranger] = ["000000000000", "111111111111"]
/** Access keys by their ids; the secret is the id's own word. */
export const keys: Readonly<Record<string, { account: string; secret: string }>> = {
  AKIAOWNER: { account: owner, secret: "owner" },
  AKIASTRANGER: { account: stranger, secret: "stranger" },
}

const statement = (Action: string, more: Partial<PolicyStatement> = {}): PolicyStatement => ({
  Sid: Action,
  Effect: "Allow",
  Principal: "*",
  Action,
  Resource: `arn:aws:lambda:${region}:${owner}:function:f`,
  ...more,
})

/** What the console gives a URL that anybody may ask. */
export const publicPolicy: readonly PolicyStatement[] = [
  statement("lambda:InvokeFunctionUrl", { Condition: { StringEquals: { "lambda:FunctionUrlAuthType": "NONE" } } }),
  statement("lambda:InvokeFunction", { Condition: { Bool: { "lambda:InvokedViaFunctionUrl": "true" } } }),
]

export interface UrlSettings {
  authType: "NONE" | "AWS_IAM"
  isStreamed: boolean
  cors: UrlCors | null
  statements: readonly PolicyStatement[]
}

export interface Ask {
  readonly method?: string
  readonly path?: string
  /** A list is a field sent as often. */
  readonly headers?: Record<string, string | string[]>
  readonly body?: string | Buffer
  readonly host?: string
}

export interface Answer {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly body: string
  readonly bytes: Buffer
}

/** Opens one; with a router of the test's own, its URLs are those that are served. */
export const openUrlEdge = async (limits: Partial<EdgeLimits> = {}, router?: FunctionUrlRouter) => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-url-edge-"))
  const certificates = await ensureCertificates(directory, "localhost")
  const caFile = certificates.caFile ?? ""
  const ca = await readFile(caFile, "utf8")
  const tokens = createTokens(await openTokenKeys(createMemoryKeyStore()))
  const metrics = new Registry()
  const id = "0123456789abcdefghijklmnopqrstuv"
  const settings: UrlSettings = { authType: "NONE", isStreamed: false, cors: null, statements: publicPolicy }
  let handler: Handler = () => ({ statusCode: 200, body: "hello" })
  const invoker = createFakeInvoker(() => handler)
  const target: FunctionUrlTarget = {
    kind: "function-url",
    id,
    get authType() {
      return settings.authType
    },
    get isStreamed() {
      return settings.isStreamed
    },
    get cors() {
      return settings.cors
    },
    allows: (signer) => allowsUrl({ ...settings, account: owner, region }, signer),
    invoke: (event, signal) =>
      invoker.invoke(
        {
          ...event,
          target: { name: "f", qualifier: undefined },
          scope: { account: owner, region },
          mode: settings.isStreamed ? "streaming" : "buffered",
        },
        signal,
      ),
  }
  const edge = await openEdge({
    router: { find: () => undefined },
    functionUrls: {
      router: router ?? {
        owns: (host) => host.endsWith(".lambda-url.localhost"),
        find: (host) => (host === `${id}.lambda-url.localhost` ? target : undefined),
      },
      signatures: createUrlSignatures(createVerifier({ find: (key) => Promise.resolve(keys[key]) })),
    },
    tokens,
    ...certificates,
    ...parseConfig({}).edge,
    maxRequestsPerVm: 100,
    ...limits,
    address: "127.0.0.1",
    port: 0,
    metrics: createEdgeMetrics(metrics),
    log: createLog("silent"),
  })
  const name = `${id}.lambda-url.localhost`
  const origin = `https://${name}:${edge.port}`

  /** Begins a request; resolves with what is answered, whose body is still to come. */
  const open = (protocol: Protocol, { method = "GET", path = "/", headers = {}, body, host = name }: Ask = {}) => {
    const authority = `${host}:${edge.port}`
    if (protocol === "http/1.1") {
      const request = send(origin, { ca, method, path, agent: false, headers: { host: authority, ...headers } })
      const response = new Promise<{ status: number; headers: Answer["headers"]; body: Readable }>(
        (resolve, reject) => {
          request
            .on("error", reject)
            .once("response", (one) => resolve({ status: one.statusCode ?? 0, headers: one.headers, body: one }))
        },
      )
      if (body === undefined) request.flushHeaders()
      else request.end(body)
      return { request, response, leave: () => void request.destroy() }
    }
    const session = connect(origin, { ca }).on("error", () => {})
    const request = session.request(
      { ":method": method, ":path": path, ":authority": authority, ...headers },
      { endStream: body === "" },
    )
    const response = new Promise<{ status: number; headers: Answer["headers"]; body: Readable }>((resolve, reject) => {
      request
        .on("error", reject)
        .once("close", () => session.close())
        .once("response", (one) => resolve({ status: one[":status"] ?? 0, headers: one, body: request }))
    })
    if (body !== undefined && body !== "") request.end(body)
    return { request, response, leave: () => session.destroy() }
  }

  return {
    id,
    name,
    origin,
    port: edge.port,
    ca,
    caFile,
    metrics,
    settings,
    invoker,
    open,
    answers(next: Handler) {
      handler = next
    },
    /** A whole exchange. */
    async ask(protocol: Protocol, asked: Ask = {}): Promise<Answer> {
      const { response } = open(protocol, { ...asked, body: asked.body ?? "" })
      const { status, headers, body } = await response
      const bytes = await buffer(body)
      return { status, headers, bytes, body: bytes.toString() }
    },
    async [Symbol.asyncDispose]() {
      await edge.close(0)
      await rm(directory, { recursive: true })
    },
  }
}

export type UrlEdge = Awaited<ReturnType<typeof openUrlEdge>>
