import { Refusal } from "../refusal.ts"
import type { RecordKind } from "./telemetry.ts"

export interface SubscriptionRequest {
  readonly types: ReadonlySet<RecordKind>
  /** Of a listener in this guest. */
  readonly destination:
    | { readonly protocol: "HTTP"; readonly url: URL }
    | { readonly protocol: "TCP"; readonly port: number }
  readonly maxItems: number
  readonly maxBytes: number
  readonly timeoutMs: number
}

const SCHEMAS = ["2025-01-29", "2022-12-13", "2022-07-01", "2020-08-15", "2021-03-18"]
const TYPES: readonly string[] = ["platform", "function", "extension"]
/** The names by which an extension listens; nothing is sent anywhere else. */
const HOSTS = ["sandbox.localdomain", "sandbox", "localhost", "127.0.0.1"]
const BUFFERING = {
  maxItems: { least: 1000, most: 10_000, usual: 10_000 },
  maxBytes: { least: 262_144, most: 1_048_576, usual: 262_144 },
  timeoutMs: { least: 25, most: 30_000, usual: 1000 },
} as const

/** What a subscriber asks for, every member named that is wrong; throws a refusal. */
export const parseSubscription = (body: Buffer | undefined): SubscriptionRequest => {
  let content: unknown
  try {
    content = JSON.parse((body ?? Buffer.alloc(0)).toString("utf8"))
  } catch (error) {
    throw invalid((error as Error).message)
  }
  if (!isObject(content)) throw invalid("The body: an object is expected")
  const { schemaVersion, types, destination } = content
  if (schemaVersion !== undefined && !SCHEMAS.includes(schemaVersion as string))
    throw invalid(`schemaVersion: one of ${SCHEMAS.slice(0, 3).join(", ")} is expected`)
  if (!Array.isArray(types) || types.length === 0 || !types.every((type) => TYPES.includes(type as string)))
    throw invalid(`types: some of ${TYPES.join(", ")} are expected`)
  return {
    types: new Set(types as RecordKind[]),
    destination: parseDestination(destination),
    ...parseBuffering(content["buffering"]),
  }
}

const parseDestination = (destination: unknown): SubscriptionRequest["destination"] => {
  if (!isObject(destination)) throw invalid("destination: an object is expected")
  const { protocol, URI, port } = destination
  if (protocol === "TCP") {
    if (typeof port === "number" && Number.isInteger(port) && port > 0 && port < 65_536) return { protocol, port }
    throw invalid("destination.port: a port is expected")
  }
  if (protocol !== "HTTP") throw invalid("destination.protocol: HTTP or TCP is expected")
  const url = typeof URI === "string" && URL.canParse(URI) ? new URL(URI) : undefined
  if (url?.protocol !== "http:" || !HOSTS.includes(url.hostname))
    throw invalid("destination.URI: http://sandbox.localdomain and a port are expected")
  return { protocol, url }
}

const parseBuffering = (buffering: unknown) => {
  if (buffering !== undefined && !isObject(buffering)) throw invalid("buffering: an object is expected")
  const within = (name: keyof typeof BUFFERING) => {
    const { least, most, usual } = BUFFERING[name]
    const value = buffering?.[name] ?? usual
    if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) return value
    throw invalid(`buffering.${name}: a number from ${least} to ${most} is expected`)
  }
  return { maxItems: within("maxItems"), maxBytes: within("maxBytes"), timeoutMs: within("timeoutMs") }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const invalid = (message: string) => new Refusal(400, "ValidationError", message)
