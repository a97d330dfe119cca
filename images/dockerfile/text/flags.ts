/** An instruction's flags: `--name` or `--name=value` before its arguments. Quotes in them are undone, and hold blanks together. */
import { DockerfileError } from "../error.ts"

export interface Flag {
  readonly name: string
  /** `null` without an equals sign. */
  readonly value: string | null
}

const MAX_FLAGS = 100

/** Takes the flags off a text; two dashes alone end them. */
export const splitFlags = (text: string, escape: string, line: number): { flags: Flag[]; rest: string } => {
  const flags: Flag[] = []
  let at = 0
  for (;;) {
    while (/\s/.test(text[at] ?? "")) at++
    if (!text.startsWith("--", at)) break
    let word = ""
    let quote = ""
    for (; at < text.length && (quote !== "" || !/\s/.test(text[at] ?? "")); at++) {
      const char = text[at] ?? ""
      if (char === escape && quote !== "'") word += text[++at] ?? ""
      else if (char === quote) quote = ""
      else if (quote === "" && (char === '"' || char === "'")) quote = char
      else word += char
    }
    if (word === "--") break
    if (flags.length === MAX_FLAGS) throw new DockerfileError(line, `more than ${MAX_FLAGS} flags`)
    const equals = word.indexOf("=")
    flags.push(
      equals === -1
        ? { name: word.slice(2), value: null }
        : { name: word.slice(2, equals), value: word.slice(equals + 1) },
    )
  }
  return { flags, rest: text.slice(at).trim() }
}

/** `text` has a value, a `switch` may have one, a `list` may be there many times. */
export type FlagKind = "text" | "switch" | "list"

export interface Flags {
  text(name: string): string | null
  isOn(name: string): boolean
  list(name: string): string[]
}

/** Reads an instruction's flags; throws {@link DockerfileError} on one that it doesn't have, that is there twice, or has no fitting value. */
export const readFlags = (flags: readonly Flag[], kinds: Readonly<Record<string, FlagKind>>, line: number): Flags => {
  const fail = (message: string): never => {
    throw new DockerfileError(line, message)
  }
  const lists = new Map<string, string[]>()
  for (const { name, value } of flags) {
    const kind = Object.hasOwn(kinds, name) ? kinds[name] : fail(`unknown flag: --${name.slice(0, 60)}`)
    const list = lists.get(name) ?? []
    if (kind !== "list" && list.length > 0) fail(`Duplicate flag specified: ${name}`)
    if (kind !== "switch" && value === null) fail(`Missing a value on flag: ${name}`)
    if (kind === "switch" && !["true", "false"].includes((value ?? "true").toLowerCase()))
      fail(`expecting boolean value for flag ${name}, not: ${value?.slice(0, 60)}`)
    lists.set(name, [...list, value ?? "true"])
  }
  return {
    text: (name) => lists.get(name)?.[0] ?? null,
    isOn: (name) => lists.get(name)?.[0]?.toLowerCase() === "true",
    list: (name) => lists.get(name) ?? [],
  }
}
