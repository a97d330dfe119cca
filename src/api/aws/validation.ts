import { validationError } from "../../errors.ts"
import type { Shape } from "./shape.ts"

/** A value repeated in an error is cut here: an answer needn't be as large as its request. */
const maxEchoLength = 2048

const patterns = new Map<string, RegExp>()
const matches = (pattern: string, value: string) => {
  let compiled = patterns.get(pattern)
  if (!compiled) patterns.set(pattern, (compiled = new RegExp(`^(?:${pattern})$`, "u")))
  return compiled.test(value)
}

/** A value as AWS's validation prints it: lists as `[a, b]`, maps as `{k=v}`. */
const textOf = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(textOf).join(", ")}]`
  if (typeof value === "object" && value !== null) {
    const set = Object.entries(value).filter(([, member]) => member !== undefined)
    return `{${set.map(([name, member]) => `${name}=${textOf(member)}`).join(", ")}}`
  }
  return String(value)
}

const isSensitive = (shape: Shape): boolean =>
  shape.kind === "blob" ||
  (shape.kind === "string" && shape.sensitive === true) ||
  (shape.kind === "list" && isSensitive(shape.item)) ||
  (shape.kind === "map" && isSensitive(shape.value))

const boundsBroken = (size: number, shape: { min?: number; max?: number }, noun: "length" | "value") => {
  const broken: string[] = []
  if (shape.max !== undefined && size > shape.max)
    broken.push(`Member must have ${noun} less than or equal to ${shape.max}`)
  if (shape.min !== undefined && size < shape.min)
    broken.push(`Member must have ${noun} greater than or equal to ${shape.min}`)
  return broken
}

/** Everything that holds for a scalar, in the order in which AWS lists it for a list's items or a map's keys. */
const constraintsOf = (shape: Shape): string[] => {
  if (shape.kind === "integer" || shape.kind === "number") {
    const bounds = []
    if (shape.max !== undefined) bounds.push(`Member must have value less than or equal to ${shape.max}`)
    if (shape.min !== undefined) bounds.push(`Member must have value greater than or equal to ${shape.min}`)
    return bounds
  }
  if (shape.kind !== "string") return []
  const all = []
  if (shape.max !== undefined) all.push(`Member must have length less than or equal to ${shape.max}`)
  if (shape.min !== undefined) all.push(`Member must have length greater than or equal to ${shape.min}`)
  if (shape.pattern !== undefined) all.push(`Member must satisfy regular expression pattern: ${shape.pattern}`)
  if (shape.values) all.push(`Member must satisfy enum value set: [${shape.values.join(", ")}]`)
  return all
}

/** AWS's services name members in their errors as their Java code does, whatever they are called on the wire. */
const toPathName = (name: string) => name.slice(0, 1).toLowerCase() + name.slice(1)

const scalarBroken = (shape: Shape, value: unknown): string[] => {
  if (value === null) return ["Member must not be null"]
  if (shape.kind === "integer" || shape.kind === "number") return boundsBroken(value as number, shape, "value")
  if (shape.kind === "blob") return boundsBroken((value as Buffer).length, shape, "length")
  if (shape.kind !== "string") return []
  const text = value as string
  const broken = boundsBroken(text.length, shape, "length")
  if (shape.pattern !== undefined && !matches(shape.pattern, text)) {
    broken.push(`Member must satisfy regular expression pattern: ${shape.pattern}`)
  }
  if (shape.values && !shape.values.includes(text))
    broken.push(`Member must satisfy enum value set: [${shape.values.join(", ")}]`)
  return broken
}

/** All that is wrong with a value, one sentence each. `path` is where it is, as AWS writes it (`allowedPorts.1.member.port`). */
export const failuresOf = (shape: Shape, value: unknown, path: string): string[] => {
  const saying = (constraint: string) => {
    if (isSensitive(shape)) return `Value at '${path}' failed to satisfy constraint: ${constraint}`
    const text = textOf(value)
    const shown = text.length > maxEchoLength ? `${text.slice(0, maxEchoLength)}…` : text
    return `Value '${shown}' at '${path}' failed to satisfy constraint: ${constraint}`
  }
  const inside = (name: string) => (path === "" ? toPathName(name) : `${path}.${toPathName(name)}`)

  switch (shape.kind) {
    case "string":
    case "integer":
    case "number":
    case "blob":
    case "boolean":
      return scalarBroken(shape, value).map(saying)
    case "list": {
      const items = value as unknown[]
      const failures = boundsBroken(items.length, shape, "length").map(saying)
      if (shape.item.kind === "structure" || shape.item.kind === "union") {
        const { item } = shape
        return failures.concat(
          items.flatMap((entry, index) => {
            const at = `${path}.${index + 1}.member`
            return entry === null
              ? [`Value null at '${at}' failed to satisfy constraint: Member must not be null`]
              : failuresOf(item, entry, at)
          }),
        )
      }
      if (items.some((entry) => scalarBroken(shape.item, entry).length > 0)) {
        const constraints = constraintsOf(shape.item)
        if (items.includes(null)) constraints.push("Member must not be null")
        failures.push(saying(`Member must satisfy constraint: [${constraints.join(", ")}]`))
      }
      return failures
    }
    case "map": {
      const entries = Object.entries(value as Record<string, unknown>)
      const failures = boundsBroken(entries.length, shape, "length").map(saying)
      if (entries.some(([key]) => scalarBroken(shape.key, key).length > 0)) {
        failures.push(saying(`Map keys must satisfy constraint: [${constraintsOf(shape.key).join(", ")}]`))
      }
      if (entries.some(([, entry]) => scalarBroken(shape.value, entry).length > 0)) {
        failures.push(saying(`Map value must satisfy constraint: [${constraintsOf(shape.value).join(", ")}]`))
      }
      return failures
    }
    case "structure": {
      const given = value as Record<string, unknown>
      return Object.entries(shape.members).flatMap(([name, member]) => {
        const inner = given[name]
        if (inner !== undefined) return failuresOf(member.shape, inner, inside(name))
        return member.required
          ? [`Value null at '${inside(name)}' failed to satisfy constraint: Member must not be null`]
          : []
      })
    }
    case "union": {
      const set = Object.entries(value as Record<string, unknown>).filter(([, inner]) => inner !== undefined)
      if (set.length !== 1)
        return [saying(`Member must have exactly one of [${Object.keys(shape.choices).join(", ")}] set`)]
      return set.flatMap(([name, inner]) => {
        const choice = shape.choices[name]
        return choice ? failuresOf(choice, inner, inside(name)) : []
      })
    }
    default:
      return shape satisfies never
  }
}

/** Refuses a value that breaks any constraint, naming all of them at once in AWS's words. */
export const validate = (shape: Shape, value: unknown): void => {
  const failures = failuresOf(shape, value, "")
  if (failures.length === 0) return
  const noun = failures.length === 1 ? "error" : "errors"
  throw validationError(`${failures.length} validation ${noun} detected: ${failures.join("; ")}`)
}
