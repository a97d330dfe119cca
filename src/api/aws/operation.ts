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
}

export type Labels = Readonly<Record<string, string>>
export type Body = Record<string, unknown> | undefined

export interface Operation {
  readonly name: string
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE"
  /** With labels in braces, as in the model. */
  readonly path: string
  /** Of the answer when it goes well. */
  readonly status: number
  /** Takes the request apart, throwing what is wrong with it, and answers. */
  readonly run: (labels: Labels, target: Target, body: Buffer, call: Call) => Promise<Body>
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
  if (kind === "boolean") return text === "true" ? true : text === "false" ? false : text
  return text
}

const readInput = <Members extends StructureShape>(
  shape: Members,
  labels: Labels,
  target: Target,
  body: Buffer,
): ValueOf<Members> => {
  const members = Object.entries(shape.members)
  const given = members.some(([, member]) => member.from === "body") ? parseJson(body) : {}
  const input = deserialize(shape, given) as Record<string, unknown>
  for (const [name, { shape: inner, from }] of members) {
    if (from === "body") continue
    const texts =
      from === "path" ? [labels[name] ?? ""] : target.query.filter(([key]) => key === name).map(([, value]) => value)
    const [first] = texts
    input[name] =
      first === undefined ? undefined : deserialize(inner, inner.kind === "list" ? texts : fromText(inner.kind, first))
  }
  validate(shape, input)
  return input as ValueOf<Members>
}

/** Makes an operation of its place, its input's shape and what it answers. */
export const operation = <Members extends StructureShape>(
  name: string,
  at: Pick<Operation, "method" | "path" | "status">,
  input: Members,
  answer: (input: ValueOf<Members>, call: Call) => Promise<Body>,
): Operation => ({
  name,
  ...at,
  run: async (labels, target, body, call) => answer(readInput(input, labels, target, body), call),
})

/** Finds the operation at a method and path, and the decoded labels of its path. */
export const findOperation = (
  operations: readonly Operation[],
  method: string,
  path: string,
): { operation: Operation; labels: Record<string, string> } | undefined => {
  const segments = path.split("/")
  for (const candidate of operations) {
    const template = candidate.path.split("/")
    if (candidate.method !== method || template.length !== segments.length) continue
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
