/** RUN --mount, as Docker reads it. Source: https://docs.docker.com/reference/dockerfile/#run---mount */
import { posix } from "node:path"
import { fail } from "../error.ts"
import type { Mount } from "../mount.ts"
import { absolutePath } from "./values.ts"
import type { StageBuild } from "../stage/stage-build.ts"

/** The keys of each type, and what other names they have. */
const KEYS: Readonly<Record<string, readonly string[]>> = {
  bind: ["target", "source", "from", "readonly"],
  cache: ["target", "id", "source", "from", "readonly", "sharing", "mode", "uid", "gid"],
  tmpfs: ["target", "size"],
  secret: ["target", "id", "required", "mode", "uid", "gid", "env"],
}
const ALIASES: Readonly<Record<string, string>> = {
  dst: "target",
  destination: "target",
  src: "source",
  ro: "readonly",
  rw: "readwrite",
}
const SWITCHES = new Set(["readonly", "readwrite", "required"])
const UNIT_BYTES: Readonly<Record<string, number>> = { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }
const MAX_ID = 2 ** 32 - 2
const MAX_CHARACTERS = 4096

/** Reads one; throws DockerfileError on what Docker refuses, and on what there is no such thing of here. */
export const parseMount = async (text: string, line: number, stage: StageBuild): Promise<Mount> => {
  const given = readKeys(text, line, stage)
  const type = given.get("type") ?? "bind"
  if (type === "ssh")
    fail(line, "RUN --mount=type=ssh is not supported: no agent of yours is reachable from a build; mount a secret")
  const known = Object.hasOwn(KEYS, type)
    ? (KEYS[type] ?? [])
    : fail(line, `unsupported mount type '${type.slice(0, 60)}'`)
  for (const key of given.keys())
    if (key !== "type" && !known.includes(key))
      fail(line, `unexpected key '${key.slice(0, 60)}' in a mount of type ${type}`)

  const number = (key: string, otherwise: number, radix = 10, max = MAX_ID): number => {
    const value = given.get(key)
    if (value === undefined) return otherwise
    const parsed = (radix === 8 ? /^[0-7]{1,5}$/ : /^\d{1,10}$/).test(value)
      ? Number.parseInt(value, radix)
      : Number.NaN
    return parsed <= max ? parsed : fail(line, `invalid value '${value.slice(0, 60)}' for ${key} of a mount`)
  }
  const rights = (mode: number) => ({
    mode: number("mode", mode, 8, 0o7777),
    uid: number("uid", 0),
    gid: number("gid", 0),
  })
  const { workingDirectory } = stage.state
  const pathOf = (path: string) => absolutePath(path, workingDirectory).replace(/(.)\/$/, "$1")
  const target = given.get("target")
  const place = (): string => {
    if (target === undefined || target === "") return fail(line, `a mount of type ${type} requires a target`)
    const path = pathOf(target)
    return path === "/" ? fail(line, "invalid mount target '/': a mount cannot be the root") : path
  }
  const source = absolutePath(given.get("source") ?? "/", "/").replace(/(.)\/$/, "$1")
  const from = given.get("from")
  const isReadOnly = given.get("readonly")

  switch (type) {
    case "tmpfs":
      return { kind: "tmpfs", target: place(), sizeBytes: toBytes(given.get("size"), line) }
    case "cache": {
      const at = place()
      const sharing = given.get("sharing") ?? "shared"
      if (sharing !== "shared" && sharing !== "private" && sharing !== "locked")
        return fail(line, `unsupported sharing value '${sharing.slice(0, 60)}'`)
      return {
        kind: "cache",
        target: at,
        id: given.get("id") || at,
        from: from === undefined ? null : await stage.sourceOf(from, line),
        source,
        sharing,
        ...rights(0o755),
        writable: isReadOnly !== "true",
      }
    }
    case "secret": {
      const variable = given.get("env") ?? null
      const id = given.get("id") || posix.basename(target ?? "")
      if (id === "") fail(line, "a mount of type secret requires an id or a target")
      if (variable !== null && !/^[A-Za-z_][A-Za-z0-9_]*$/.test(variable))
        fail(line, `'${variable.slice(0, 60)}' is no name of a variable`)
      return {
        kind: "secret",
        id,
        target:
          target !== undefined ? place() : variable === null ? pathOf(`/run/secrets/${posix.basename(id)}`) : null,
        variable,
        required: given.get("required") === "true",
        ...rights(0o400),
      }
    }
    default:
      return {
        kind: "bind",
        target: place(),
        from: from === undefined ? { kind: "context" } : await stage.sourceOf(from, line),
        source,
        writable: isReadOnly === "false",
      }
  }
}

/** Its fields, by their first names; `readwrite` is `readonly` the other way round. */
const readKeys = (text: string, line: number, { lexer, state }: StageBuild): Map<string, string> => {
  const given = new Map<string, string>()
  for (const field of text.split(",")) {
    const at = field.indexOf("=")
    const written = (at === -1 ? field : field.slice(0, at)).trim().toLowerCase()
    const key = Object.hasOwn(ALIASES, written) ? (ALIASES[written] ?? written) : written
    let value = at === -1 ? undefined : field.slice(at + 1)
    if (value === undefined && !SWITCHES.has(key))
      fail(line, `invalid field '${field.slice(0, 60)}' must be a key=value pair`)
    value ??= "true"
    if (key !== "type" && key !== "from") value = lexer.expandTexts([value], state.variables(), line)[0] ?? ""
    if (value.length > MAX_CHARACTERS) fail(line, `a field of a mount is longer than ${MAX_CHARACTERS} characters`)
    if (key === "type") value = value.toLowerCase()
    if (SWITCHES.has(key)) {
      const isOn = /^(?:1|t|true)$/i.test(value)
      if (!isOn && !/^(?:0|f|false)$/i.test(value))
        fail(line, `invalid value '${value.slice(0, 60)}' for ${key} of a mount`)
      if (key === "readwrite") given.set("readonly", String(!isOn))
      else given.set(key, String(isOn))
    } else given.set(key, value)
  }
  return given
}

const toBytes = (text: string | undefined, line: number): number | null => {
  if (text === undefined) return null
  const [, amount, unit = ""] = /^(\d{1,15}(?:\.\d{1,15})?) ?([kmg]?)(?:i?b)?$/i.exec(text) ?? []
  const bytes = Math.floor(Number(amount) * (UNIT_BYTES[unit.toLowerCase()] ?? Number.NaN))
  return Number.isSafeInteger(bytes) ? bytes : fail(line, `invalid size '${text.slice(0, 60)}': write it like 64m`)
}
