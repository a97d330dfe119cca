import { createHmac } from "node:crypto"
import { request as httpRequest } from "node:http"
import { credentials, region, sha256Hex } from "./api-under-test.ts"

const hmac = (key: string | Buffer, text: string) => createHmac("sha256", key).update(text).digest()
const encode = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)

type Headers = Record<string, string> & { authorization: string }

export interface SignedRequest {
  readonly method?: string
  readonly path: string
  readonly body?: string | Uint8Array
  readonly headers?: Record<string, string>
  readonly service?: string
  readonly accessKeyId?: string
  readonly secretAccessKey?: string
  readonly region?: string
  readonly at?: Date
  /** Instead of the body's own hash. */
  readonly payloadHash?: string
}

/** A SigV4 signer apart from both the SDK's and ours: what is checked here is checked by a third. */
export const sign = (input: SignedRequest, host: string) => {
  const { method = "GET", path, body = "", service = "lambda" } = input
  const signer = { ...credentials, region, ...input }
  const stamp = (input.at ?? new Date()).toISOString().replace(/[-:]|\.\d{3}/g, "")
  const date = stamp.slice(0, 8)
  const payloadHash = input.payloadHash ?? sha256Hex(body)
  const headers: Record<string, string> = {
    host,
    "x-amz-date": stamp,
    "x-amz-content-sha256": payloadHash,
    ...input.headers,
  }
  const names = Object.keys(headers).toSorted()
  const [rawPath = "", rawQuery = ""] = path.split("?")
  const canonicalPath = service === "s3" ? rawPath : rawPath.split("/").map(encode).join("/")
  const canonicalQuery = rawQuery
    .split("&")
    .filter(Boolean)
    .map((pair) => (pair.includes("=") ? pair : `${pair}=`))
    .toSorted()
    .join("&")
  const canonical = [
    method,
    canonicalPath,
    canonicalQuery,
    ...names.map((name) => `${name}:${headers[name]}`),
    "",
    names.join(";"),
    payloadHash,
  ].join("\n")
  const scope = `${date}/${signer.region}/${service}/aws4_request`
  const key = hmac(hmac(hmac(hmac(`AWS4${signer.secretAccessKey}`, date), signer.region), service), "aws4_request")
  const signature = hmac(key, `AWS4-HMAC-SHA256\n${stamp}\n${scope}\n${sha256Hex(canonical)}`).toString("hex")
  const authorization = `AWS4-HMAC-SHA256 Credential=${signer.accessKeyId}/${scope}, SignedHeaders=${names.join(";")}, Signature=${signature}`
  return {
    method,
    headers: { ...headers, authorization } as Headers,
    signature,
    signedScope: `${stamp}\n${scope}`,
    key,
  }
}

export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
}

/** Sends a request whose path is left exactly as it is, which `fetch` doesn't do. */
export const send = (
  port: number,
  {
    method,
    path,
    headers,
    body,
  }: { method: string; path: string; headers: Record<string, string>; body?: string | Uint8Array },
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const request = httpRequest({ host: "127.0.0.1", port, method, path, headers, agent: false }, (response) => {
      const pieces: Buffer[] = []
      response.on("data", (piece: Buffer) => pieces.push(piece))
      response.on("error", reject)
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: Buffer.concat(pieces).toString("utf8"),
        }),
      )
    })
    request.on("error", reject)
    request.end(body)
  })

/** Signs a request and sends it. */
export const signedSend = (port: number, input: SignedRequest): Promise<Answer> => {
  const { method, headers } = sign(input, `127.0.0.1:${port}`)
  return send(port, { method, path: input.path, headers, ...(input.body === undefined ? {} : { body: input.body }) })
}

/** Sends a body as JSON, signed, and reads the answer as JSON: what the SDK would hide stays to be seen. */
export const signedJson = async (port: number, method: string, path: string, body?: unknown) => {
  const answer = await signedSend(port, { method, path, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
  return { ...answer, json: JSON.parse(answer.text) as Record<string, unknown> }
}
