import { ServiceError } from "../../errors.ts"
import type { Shape } from "./shape.ts"

const wrongType = (message: string) => new ServiceError("SerializationException", 400, message)

const tokenOf = (json: unknown) => {
  if (Array.isArray(json)) return "Start of list found where not expected"
  if (typeof json === "object") return "Start of structure or map found where not expected"
  return typeof json === "string"
    ? "STRING_VALUE"
    : typeof json === "number"
      ? "NUMBER_VALUE"
      : json === true
        ? "TRUE_VALUE"
        : "FALSE_VALUE"
}

const cannotBe = (json: unknown, type: string) => {
  const token = tokenOf(json)
  return wrongType(token.startsWith("Start") ? token : `${token} can not be converted to ${type}`)
}

const members = (json: unknown): Record<string, unknown> => {
  if (Array.isArray(json)) throw wrongType("Start of list found where not expected")
  if (typeof json !== "object" || json === null) throw wrongType("Expected null")
  return json as Record<string, unknown>
}

/** The text, unless nothing could keep it: a database takes no NUL, and half of a surrogate pair is no character. */
export const checkText = (text: string): string => {
  if (text.includes("\0") || !text.isWellFormed())
    throw wrongType("A string contains U+0000 or half of a surrogate pair, which cannot be stored")
  return text
}

/** An own member, `undefined` for what is left out, `null`, or inherited. */
const own = (json: Record<string, unknown>, name: string) =>
  Object.hasOwn(json, name) ? (json[name] ?? undefined) : undefined

/**
 * Takes from JSON what a shape knows, in the types it wants, and drops the rest.
 * Throws AWS's SerializationException at the first value of another type; constraints are looked at later.
 */
export const deserialize = (shape: Shape, json: unknown): unknown => {
  switch (shape.kind) {
    case "string":
      if (typeof json !== "string") throw cannotBe(json, "String")
      return checkText(json)
    case "integer":
      if (typeof json !== "number") throw cannotBe(json, "Integer")
      if (!Number.isSafeInteger(json)) throw wrongType("DECIMAL_VALUE can not be converted to Integer")
      return json
    case "number":
      if (typeof json !== "number") throw cannotBe(json, "Double")
      return json
    case "blob": {
      if (typeof json !== "string") throw cannotBe(json, "Blob")
      const bytes = Buffer.from(json, "base64")
      if (Math.ceil(bytes.length / 3) * 4 !== Math.ceil(json.replace(/=+$/, "").length / 4) * 4)
        throw wrongType("Invalid base64")
      return bytes
    }
    case "boolean":
      if (typeof json !== "boolean") throw cannotBe(json, "Boolean")
      return json
    case "list":
      if (!Array.isArray(json)) throw wrongType(typeof json === "object" ? tokenOf(json) : "Expected list or null")
      return json.map((item: unknown) => (item === null ? null : deserialize(shape.item, item)))
    case "map":
      return Object.fromEntries(
        Object.entries(members(json))
          .filter(([, value]) => value !== null)
          .map(([key, value]) => [checkText(key), deserialize(shape.value, value)]),
      )
    case "structure": {
      const given = members(json)
      return Object.fromEntries(
        Object.entries(shape.members).map(([name, member]) => {
          const value = own(given, name)
          return [name, value === undefined ? undefined : deserialize(member.shape, value)]
        }),
      )
    }
    case "union": {
      const given = members(json)
      return Object.fromEntries(
        Object.entries(shape.choices).map(([name, choice]) => {
          const value = own(given, name)
          return [name, value === undefined ? undefined : deserialize(choice, value)]
        }),
      )
    }
    default:
      return shape satisfies never
  }
}
