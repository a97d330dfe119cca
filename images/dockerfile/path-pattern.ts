/**
 * Patterns of paths as `.dockerignore` and `--exclude` have them: of a root, `**` stands for any number of folders, `!` takes back.
 * Source: https://docs.docker.com/build/concepts/context/#dockerignore-files
 */
import { isGlob, matchesInOrder, parseGlobPart, type GlobPart } from "./glob.ts"

export interface PathPattern {
  readonly takesBack: boolean
  /** It matches when one of them does. */
  readonly alternatives: readonly (readonly Part[])[]
}

type Part = string | GlobPart | typeof ANY_FOLDERS

const ANY_FOLDERS = Symbol("**")
const isAnyFolders = (part: Part) => part === ANY_FOLDERS
const MAX_PATTERN_CHARACTERS = 4096
/** Of `a**b` in one part there are two readings, of two of them four. */
const MAX_ALTERNATIVES = 16

/** Reads one; `undefined` where it is empty or the root itself. Throws an Error whose words say what it has. */
export const parsePathPattern = (text: string): PathPattern | undefined => {
  const takesBack = text.startsWith("!")
  const pattern = cleanPath(takesBack ? text.slice(1).trim() : text)
  const malformed = () => new Error(`the malformed pattern '${text.slice(0, 100)}'`)
  if (text === "!") throw malformed()
  if (pattern === "") return undefined
  if (pattern.length > MAX_PATTERN_CHARACTERS) throw new Error(`more than ${MAX_PATTERN_CHARACTERS} characters`)
  const alternatives = readingsOf(pattern)
  if (alternatives.length > MAX_ALTERNATIVES) throw new Error("too many **")
  const toPart = (part: string): Part => {
    if (part === "**") return ANY_FOLDERS
    if (!isGlob(part)) return part
    const glob = parseGlobPart(part)
    if (glob === undefined) throw malformed()
    return glob
  }
  return { takesBack, alternatives: alternatives.map((reading) => reading.split("/").map(toPart)) }
}

/** Whether it matches this very path, given in its parts; `spend` hears of each comparison's cost in characters. */
export const matchesPath = (
  { alternatives }: PathPattern,
  path: readonly string[],
  spend: (cost: number) => void,
): boolean =>
  alternatives.some((parts) =>
    matchesInOrder(parts, path, isAnyFolders, (part, name) => matchesPart(part, name, spend)),
  )

/** `/a/./b/../c/` is `a/c`; what leads above the context matches nothing there. */
const cleanPath = (path: string): string => {
  const parts: string[] = []
  for (const part of path.split("/")) {
    if (part === ".." && parts.length > 0 && parts.at(-1) !== "..") parts.pop()
    else if (part !== "" && part !== ".") parts.push(part)
  }
  return parts.join("/")
}

/**
 * The same with `**` as a part of its own and nowhere else, some more than {@link MAX_ALTERNATIVES} at most. Before something it is any
 * number of folders, also none, so that `a**b` is `ab` as well as `a*`, any folders, `b`; at the end it is whatever comes.
 */
const readingsOf = (pattern: string): string[] => {
  const at = starsIn(pattern)
  if (at === -1) return [pattern]
  const before = pattern.slice(0, at)
  const after = pattern.slice(at).replace(/^(?:\*\*\/?)+/, "")
  if (after === "") return [`${before}*`]
  const rest = readingsOf(after).slice(0, MAX_ALTERNATIVES + 1)
  if (before === "" || before.endsWith("/")) return rest.map((text) => `${before}**/${text}`)
  return rest.flatMap((text) => [`${before}${text}`, `${before}*/**/${text}`])
}

/** Where the first `**` is that is neither escaped nor in a set. */
const starsIn = (pattern: string): number => {
  let inSet = false
  for (let at = 0; at < pattern.length; at++) {
    if (pattern[at] === "\\") at++
    else if (pattern[at] === "[") inSet = true
    else if (pattern[at] === "]") inSet = false
    else if (!inSet && pattern.startsWith("**", at)) return at
  }
  return -1
}

const matchesPart = (part: Part, name: string, spend: (cost: number) => void): boolean => {
  if (part === ANY_FOLDERS) return false
  spend(typeof part === "string" ? 1 : part.cost(name.length))
  return typeof part === "string" ? part === name : part.matches(name)
}
