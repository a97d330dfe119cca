/**
 * `.dockerignore`, as Docker reads it: what a build context is without. A pattern is of the context's root, `**` stands for any number of
 * folders, `!` takes back, the last pattern that matches a path or a folder above it decides.
 * Source: https://docs.docker.com/build/concepts/context/#dockerignore-files
 */
import { ArchiveError } from "./archive-error.ts"
import { isGlob, matchesInOrder, parseGlobPart, type GlobPart } from "./dockerfile/glob.ts"

export interface Ignore {
  /**
   * What is left out of a context of these clean paths: each with all that is below it, and none of them in another. A folder is not when
   * something in it stays. Throws {@link ArchiveError} when it takes too long.
   */
  excludedOf(paths: readonly string[]): string[]
}

type Part = string | GlobPart | typeof ANY_FOLDERS
interface Pattern {
  readonly takesBack: boolean
  /** It matches when one of them does. */
  readonly alternatives: readonly (readonly Part[])[]
}

const ANY_FOLDERS = Symbol("**")
const isAnyFolders = (part: Part) => part === ANY_FOLDERS
/** Comparisons of a character with another: a second or two of one core. */
const MAX_WORK = 300_000_000
const MAX_PATTERNS = 10_000
const MAX_PATTERN_CHARACTERS = 4096
/** Of `a**b` in one part there are two readings, of two of them four. */
const MAX_ALTERNATIVES = 16

/** Reads the file; throws {@link ArchiveError} with the line of a pattern that is malformed. */
export const parseIgnore = (text: string): Ignore => {
  const patterns = text
    .replace(/^\uFEFF/, "")
    .split("\n")
    .flatMap((line, index) => parseLine(line, index + 1))
  if (patterns.length > MAX_PATTERNS) throw refusal(`more than ${MAX_PATTERNS} patterns`)
  return { excludedOf: (paths) => excludedOf(patterns, paths) }
}

const refusal = (why: string) => new ArchiveError("ARCHIVE_INVALID", `The code artifact's .dockerignore has ${why}`)

const parseLine = (line: string, number: number): Pattern[] => {
  if (line.startsWith("#")) return []
  const text = line.trim()
  if (text === "") return []
  const takesBack = text.startsWith("!")
  const pattern = cleanPath(takesBack ? text.slice(1).trim() : text)
  const bad = () => refusal(`a malformed pattern in line ${number}: ${text.slice(0, 100)}`)
  if (text === "!") throw bad()
  // The context's root itself is nothing that could be left out.
  if (pattern === "") return []
  if (pattern.length > MAX_PATTERN_CHARACTERS)
    throw refusal(`more than ${MAX_PATTERN_CHARACTERS} characters in line ${number}`)
  const alternatives = readingsOf(pattern)
  if (alternatives.length > MAX_ALTERNATIVES) throw refusal(`too many ** in line ${number}`)
  const toPart = (part: string): Part => {
    if (part === "**") return ANY_FOLDERS
    if (!isGlob(part)) return part
    const glob = parseGlobPart(part)
    if (glob === undefined) throw bad()
    return glob
  }
  return [{ takesBack, alternatives: alternatives.map((reading) => reading.split("/").map(toPart)) }]
}

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

/** What is in a folder, by name. */
interface Folder extends Map<string, Folder> {}

const excludedOf = (patterns: readonly Pattern[], paths: readonly string[]): string[] => {
  if (patterns.length === 0) return []
  const root: Folder = new Map()
  for (const path of paths) {
    let folder = root
    for (const part of path.split("/")) {
      let child = folder.get(part)
      if (child === undefined) folder.set(part, (child = new Map()))
      folder = child
    }
  }
  let work = 0
  const spend = (cost: number) => {
    work += cost
    if (work > MAX_WORK) throw refusal("patterns that take too long on an archive of this size")
  }
  const excluded: string[] = []
  /** Whether something of it stays. `above`: which patterns match a folder that it is in. */
  const visit = (folder: Folder, path: readonly string[], above: readonly boolean[]): boolean => {
    spend(patterns.length)
    const matching = patterns.map(
      ({ alternatives }, index) =>
        above[index] === true ||
        alternatives.some((parts) =>
          matchesInOrder(parts, path, isAnyFolders, (part, name) => matchesPart(part, name, spend)),
        ),
    )
    const decisive = patterns[matching.lastIndexOf(true)]
    const gone = [...folder].flatMap(([name, child]) => {
      const inside = [...path, name]
      return visit(child, inside, matching) ? [] : [inside.join("/")]
    })
    const stays = decisive === undefined || decisive.takesBack || gone.length < folder.size
    if (stays) excluded.push(...gone)
    return stays
  }
  for (const [name, child] of root) if (!visit(child, [name], [])) excluded.push(name)
  return excluded
}

const matchesPart = (part: Part, name: string, spend: (cost: number) => void): boolean => {
  if (part === ANY_FOLDERS) return false
  spend(typeof part === "string" ? 1 : part.cost(name.length))
  return typeof part === "string" ? part === name : part.matches(name)
}
