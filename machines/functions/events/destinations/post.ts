import { SignatureV4 } from "@smithy/signature-v4"
import { Sha256 } from "../../../../src/sha256.ts"
import { MAX_ANSWER_BYTES, TIMEOUT_MS } from "./sender.ts"

export interface Answer {
  readonly status: number
  readonly text: string
}

/** A service of AWS's, or one that speaks as it does. */
export interface Endpoint {
  readonly endpoint: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** Posts to exactly this URL: an answer that sends elsewhere is an answer. Throws when there is none in time. */
export const post = async (
  url: URL,
  headers: Readonly<Record<string, string>>,
  body: string | Buffer,
  signal: AbortSignal,
): Promise<Answer> => {
  const response = await fetch(url, {
    method: "POST",
    headers,
    body: typeof body === "string" ? body : new Uint8Array(body),
    redirect: "manual",
    signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
  })
  return { status: response.status, text: await start(response) }
}

/** The first bytes of an answer; a server that says more is not listened to. */
const start = async (response: Response): Promise<string> => {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes >= MAX_ANSWER_BYTES) break
  }
  return Buffer.concat(chunks).toString("utf8")
}

/** Posts to a service, signed for a region; see {@link post}. */
export const signedPost = async (
  { endpoint, accessKeyId, secretAccessKey }: Endpoint,
  { service, region }: { readonly service: string; readonly region: string },
  headers: Readonly<Record<string, string>>,
  body: string,
  signal: AbortSignal,
): Promise<Answer> => {
  const url = new URL(endpoint)
  const signer = new SignatureV4({ credentials: { accessKeyId, secretAccessKey }, region, service, sha256: Sha256 })
  const signed = await signer.sign({
    method: "POST",
    protocol: url.protocol,
    hostname: url.hostname,
    ...(url.port === "" ? {} : { port: Number(url.port) }),
    path: url.pathname,
    headers: { host: url.host, ...headers },
    body,
  })
  return post(url, signed.headers, body, signal)
}
