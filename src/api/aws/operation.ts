import type { Caller } from "../../../machines/resources.ts"
import { ServiceError } from "../../errors.ts"
import { deserialize } from "./deserialize.ts"
import type { StructureShape, ValueOf } from "./shape.ts"
import type { Identity } from "./sigv4.ts"
import { decodePiece, type Target } from "./target.ts"
import { validate } from "./validation.ts"

/** One verified call of an operation. */
export interface Call {
  readonly caller: Caller
  readonly identity: Identity
  /** Under which name the client reached us. */
  readonly host: string
  readonly headers: Headers
  /** Aborted when the client is gone. Whoever waits long for something calls `patient` first: a connection on which nothing moves is dropped. */
  readonly gone: AbortSignal
  patient(): void
}

export type Labels = Readonly<Record<string, string>>
export type Body = Record<string, unknown> | undefined

export interface Operation {
  readonly name: string
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE"
  /** With labels in braces, as in the model; with the query that makes this operation of it, where there is one. */
  readonly path: string
  /** The largest body, where it isn't the service's. */
  readonly maxBodyBytes?: number
  /** What is said of a larger one; by default that it must be smaller for this operation. */
  readonly tooLarge?: () => ServiceError
  /** The member that is the body as it is. */
  readonly payload?: string
  /** Of the answer when it goes well. */
  readonly status: number
  /** What its input is taken for; left out where it is refused whatever it says. */
  readonly input?: StructureShape
  /** Takes the request apart, throwing what is wrong with it, and answers: with members, or with an answer of its own making. */
  readonly run: (labels: Labels, target: Target, body: Buffer, call: Call) => Promise<Body | Response>
}

const parseJson = (body: Buffer): unknown => {
  if (body.length === 0) return {}
  try {
    return JSON.parse(body.toString("utf8"))
  } catch {
    throw new ServiceError("SerializationException", 400, "The request's body is not valid JSON.")
  }
}

const fromText = (kind: string, text: string): unknown => {
  if (kind === "integer") return /^-?\d{1,15}$/.test(text) ? Number(text) : text
  if (kind === "number") return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text
  if (kind === "boolean") return text === "true" ? true : text === "false" ? false : text
  return text
}

const textsOf = (
  from: "path" | "query" | "header",
  name: string,
  as: string,
  labels: Labels,
  target: Target,
  headers: Headers,
): string[] => {
  if (from === "path") return [labels[name] ?? ""]
  if (from === "query") return target.query.filter(([key]) => key === as).map(([, value]) => value)
  const header = headers.get(as)
  return header === null ? [] : [header]
}

const readInput = <Members extends StructureShape>(
  shape: Members,
  labels: Labels,
  target: Target,
  body: Buffer,
  headers: Headers,
  payload: string | undefined,
): ValueOf<Members> => {
  const members = Object.entries(shape.members)
  const given = payload === undefined && members.some(([, member]) => member.from === "body") ? parseJson(body) : {}
  const input = deserialize(shape, given) as Record<string, unknown>
  for (const [name, { shape: inner, from, as = name }] of members) {
    if (from === "body") continue
    const texts = textsOf(from, name, as, labels, target, headers)
    const [first] = texts
    input[name] =
      first === undefined ? undefined : deserialize(inner, inner.kind === "list" ? texts : fromText(inner.kind, first))
  }
  if (payload !== undefined) input[payload] = body
  validate(shape, input)
  return input as ValueOf<Members>
}

/** Makes an operation of its place, its input's shape and what it answers. */
export const operation = <Members extends StructureShape>(
  name: string,
  at: Pick<Operation, "method" | "path" | "status" | "maxBodyBytes" | "tooLarge" | "payload">,
  input: Members,
  answer: (input: ValueOf<Members>, call: Call) => Promise<Body | Response>,
): Operation => ({
  name,
  ...at,
  input,
  run: async (labels, target, body, call) =>
    answer(readInput(input, labels, target, body, call.headers, at.payload), call),
})

/** Old clients write some paths with a slash at their end that newer ones leave out. */
const segmentsOf = (path: string) => path.replace(/(?<=.)\/$/, "").split("/")

/** Finds the operation at a method and target, and the decoded labels of its path. One that wants a query comes before one that doesn't. */
export const findOperation = (
  operations: readonly Operation[],
  method: string,
  { path, query }: Target,
): { operation: Operation; labels: Record<string, string> } | undefined => {
  const segments = segmentsOf(path)
  for (const candidate of operations) {
    const [place = "", wanted] = candidate.path.split("?")
    const template = segmentsOf(place)
    if (candidate.method !== method || template.length !== segments.length) continue
    if (wanted !== undefined && !query.some(([name, value]) => `${name}=${value}` === wanted)) continue
    const labels: Record<string, string> = {}
    const fits = template.every((part, index) => {
      const segment = segments[index] ?? ""
      if (!part.startsWith("{")) return part === segment
      labels[part.slice(1, -1)] = segment
      return segment !== ""
    })
    if (fits) {
      return {
        operation: candidate,
        labels: Object.fromEntries(Object.entries(labels).map(([name, label]) => [name, decodePiece(label)])),
      }
    }
  }
  return undefined
}
