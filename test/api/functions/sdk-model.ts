import * as sdk from "@aws-sdk/client-lambda"

/** What the SDK's schemas say of a value. */
export type ModelType =
  | { kind: "string" | "numeric" | "boolean" | "blob" | "other" }
  | { kind: "list"; item: ModelType }
  | { kind: "map"; value: ModelType }
  | { kind: "structure"; members: Record<string, ModelMember> }

export interface ModelMember {
  readonly type: ModelType
  readonly required: boolean
  readonly from: "body" | "path" | "query" | "header"
  /** Its name in the query. */
  readonly as: string | undefined
}

export interface ModelOperation {
  readonly name: string
  readonly method: string
  readonly path: string
  readonly status: number
  readonly input: () => Record<string, ModelMember>
}

type Raw = number | readonly unknown[] | (() => Raw)
const [LIST, MAP] = [64, 128]
/** The bit of a trait: a label of the path. */
const LABEL = 1

const resolve = (raw: Raw): number | readonly unknown[] => (typeof raw === "function" ? resolve(raw()) : raw)

const simple = (code: number): ModelType => {
  if (code >= MAP) return { kind: "map", value: simple(code & ~MAP) }
  if (code >= LIST) return { kind: "list", item: simple(code & ~LIST) }
  if (code === 0) return { kind: "string" }
  if (code === 1) return { kind: "numeric" }
  if (code === 2) return { kind: "boolean" }
  return { kind: code === 21 || code === 42 ? "blob" : "other" }
}

const toType = (given: Raw): ModelType => {
  const raw = resolve(given)
  if (typeof raw === "number") return simple(raw)
  // A schema with traits of its member.
  if (raw.length === 2) return toType(raw[0] as Raw)
  const [id, , , , first, second] = raw
  if (id === 1) return { kind: "list", item: toType(first as Raw) }
  if (id === 2) return { kind: "map", value: toType(second as Raw) }
  if (id === 3) return { kind: "structure", members: toMembers(raw) }
  return toType(first as Raw)
}

const toMembers = (structure: readonly unknown[]): Record<string, ModelMember> => {
  const [, , , , names = [], schemas = [], required = 0] = structure as [
    number,
    string,
    string,
    unknown,
    string[]?,
    Raw[]?,
    number?,
  ]
  return Object.fromEntries(
    names.map((name, index) => {
      const schema = schemas[index] ?? 0
      const traits: unknown = Array.isArray(schema) && schema.length === 2 ? schema[1] : 0
      const query = (traits as { httpQuery?: string }).httpQuery
      const header = (traits as { httpHeader?: string }).httpHeader
      const isLabel = typeof traits === "number" && (traits & LABEL) !== 0
      const from = isLabel ? "path" : query !== undefined ? "query" : header !== undefined ? "header" : "body"
      return [name, { type: toType(schema), required: index < required, from, as: query }]
    }),
  )
}

/** Every operation of the model. */
export const modelOperations: readonly ModelOperation[] = Object.entries(sdk)
  .filter(([name, value]) => name.endsWith("$") && Array.isArray(value) && (value as unknown[])[0] === 9)
  .map(([, value]) => {
    const [, , name, { http }, input] = value as unknown as [
      number,
      string,
      string,
      { http: [string, string, number] },
      Raw,
    ]
    const [method, path, status] = http
    return { name, method, path, status, input: () => toMembers(resolve(input) as unknown[]) }
  })

/** The HTTP status of an error of the model, by its name. */
export const statusOf = (error: string): number | undefined => {
  const [, , , traits] = (sdk as unknown as Record<string, [number, string, string, { httpError?: number }]>)[
    `${error}$`
  ] ?? [0, "", "", {}]
  return traits.httpError
}
