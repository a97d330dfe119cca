/** The daemon as its own commands use it: by its API alone, like anybody's program. */
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { LambdaMicrovmsClient } from "@aws-sdk/client-lambda-microvms"
import { S3Client } from "@aws-sdk/client-s3"
import { SignatureV4 } from "@smithy/signature-v4"
import type { Config } from "../config.ts"
import { OperatorError } from "../errors.ts"
import { Sha256 } from "../sha256.ts"

export interface ApiClient extends Disposable {
  readonly url: string
  readonly region: string
  readonly microvms: LambdaMicrovmsClient
  /** Of the store that artifacts are read from. */
  readonly s3: S3Client
  /** Torpor's own part of the API; throws an {@link OperatorError} in its words when the answer isn't 2xx. */
  send(
    method: "GET" | "POST",
    path: string,
    signal: AbortSignal,
    query?: Readonly<Record<string, string>>,
    body?: object,
  ): Promise<Response>
  /** AWS Lambda's functions; throws an {@link OperatorError} in AWS's words when the answer isn't 2xx. */
  askLambda(asked: Asked, signal: AbortSignal): Promise<Response>
}

export interface Asked {
  readonly method: "GET" | "POST"
  /** As it is sent: labels are encoded. */
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array | string
}

/** Where a command finds a daemon: what it was told about one, or the one of the data directory. */
export const openClient = async (config: Config): Promise<ApiClient> => {
  const { accessKeyId, secretAccessKey, region } = await credentialsOf(config)
  const credentials = { accessKeyId, secretAccessKey }
  const url = new URL(`http://${reachable(config.api.address)}:${config.api.port}`)
  const connection = { region, credentials, maxAttempts: 3 }
  const microvms = new LambdaMicrovmsClient({ ...connection, endpoint: url.origin })
  const s3 = new S3Client({ ...connection, endpoint: config.s3Endpoint ?? url.origin, forcePathStyle: true })
  /** Signed for one of the services behind the API. */
  const ask = async (
    service: string,
    { method, path, query = {}, headers: more = {}, body: given }: Asked,
    signal: AbortSignal,
  ) => {
    const body = given === undefined ? {} : { body: given }
    const signer = new SignatureV4({ credentials, region, service, sha256: Sha256 })
    const { headers } = await signer.sign({
      method,
      protocol: url.protocol,
      hostname: url.hostname,
      port: Number(url.port),
      path,
      query: { ...query },
      headers: { host: url.host, ...more },
      ...body,
    })
    const target = new URL(path, url)
    for (const [name, value] of Object.entries(query)) target.searchParams.set(name, value)
    const response = await fetch(target, { method, headers, signal, ...body })
    if (response.ok) return response
    const { message, Message } = (await response.json().catch(() => ({}))) as { message?: string; Message?: string }
    throw new OperatorError(withNextStep(message ?? Message ?? `The daemon answered ${response.status}.`))
  }
  return {
    url: url.origin,
    region,
    microvms,
    s3,
    send: (method, path, signal, query = {}, given) =>
      ask("torpor", { method, path, query, ...(given === undefined ? {} : { body: JSON.stringify(given) }) }, signal),
    askLambda: (asked, signal) => ask("lambda", asked, signal),
    [Symbol.dispose]() {
      microvms.destroy()
      s3.destroy()
    },
  }
}

/** Runs what talks to a daemon; what it throws is said in one sentence where the daemon, or its absence, is the reason. */
export const withClient = async <Result>(
  config: Config,
  work: (client: ApiClient) => Promise<Result>,
): Promise<Result> => {
  using client = await openClient(config)
  try {
    return await work(client)
  } catch (error) {
    throw explain(error, client.url)
  }
}

const explain = (error: unknown, url: string): unknown => {
  if (!(error instanceof Error)) return error
  const { code, message } = (error.cause ?? error) as NodeJS.ErrnoException
  const hangsUp = code === "ECONNRESET" || code === "UND_ERR_SOCKET" || code?.startsWith("HPE_") === true
  if (!hangsUp && (code === "ECONNREFUSED" || (error instanceof TypeError && error.cause !== undefined)))
    return new OperatorError(
      `Nothing answers at ${url} (${code ?? message}): start the daemon (\`torpor serve\`), or ${SAY_WHERE}.`,
    )
  // What an AWS client makes of a connection that ends without an answer, or of an answer that isn't of AWS's kind.
  if (hangsUp || error.name === "TimeoutError" || error instanceof SyntaxError)
    return new OperatorError(`What answers at ${url} isn't Torpor's API (${message.split("\n")[0]}): ${SAY_WHERE}.`)
  // What the service said, a full host's refusal too: its own words are the best there are.
  return "$fault" in error ? new OperatorError(withNextStep(error.message)) : error
}

/** What a refusal by the daemon begins with, and what to do about it. */
const NEXT_STEPS: Readonly<Record<string, string>> = {
  "MicroVM not found: ": "see `torpor ps`",
  "Function not found: ": "see `torpor functions ls`",
  "MicroVMImage not found for ": "see `torpor images ls`",
  "Cannot delete microvm image with running microvms": "see `torpor ps`; `torpor terminate` ends one",
  "No active version found for MicroVM image ": "`torpor build` makes one, and `torpor logs` has what a build has said",
}

const withNextStep = (message: string): string => {
  const found = Object.entries(NEXT_STEPS).find(([beginning]) => message.startsWith(beginning))
  return found === undefined ? message : `${message.replace(/\.$/, "")}: ${found[1]}.`
}

const SAY_WHERE = "say where it is by TORPOR_API_ADDRESS and TORPOR_API_PORT"

const credentialsOf = async ({ dataDirectory, credentials }: Config) => {
  const file = join(dataDirectory, "credentials.json")
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (credentials !== undefined) return "{}"
    throw new OperatorError(
      `There are no credentials: ${file} cannot be read (${error.code}). Start the daemon once, name its directory by TORPOR_DATA_DIR, or set TORPOR_ACCESS_KEY_ID and TORPOR_SECRET_ACCESS_KEY.`,
    )
  })
  return {
    region: "us-east-1",
    ...(JSON.parse(text) as { accessKeyId: string; secretAccessKey: string }),
    ...credentials,
  }
}

/** An address that a server listens on, as one that can be connected to. */
const reachable = (address: string): string => {
  const one = address === "0.0.0.0" ? "127.0.0.1" : address === "::" ? "::1" : address
  return one.includes(":") ? `[${one}]` : one
}
