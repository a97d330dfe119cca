/**
 * `.dockerignore`, as Docker reads it: what a build context is without. The last pattern that matches a path or a folder above it decides.
 */
import { ArchiveError } from "./archive-error.ts"
import { matchesPath, parsePathPattern, type PathPattern } from "./dockerfile/path-pattern.ts"

export interface Ignore {
  /**
   * What is left out of a context of these clean paths: each with all that is below it, and none of them in another. A folder is not when
   * something in it stays. Throws {@link ArchiveError} when it takes too long.
   */
  excludedOf(paths: readonly string[]): string[]
}

/** Comparisons of a character with another: a second or two of one core. */
const MAX_WORK = 300_000_000
const MAX_PATTERNS = 10_000

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

const parseLine = (line: string, number: number): PathPattern[] => {
  if (line.startsWith("#")) return []
  try {
    const pattern = parsePathPattern(line.trim())
    return pattern === undefined ? [] : [pattern]
  } catch (error) {
    throw refusal(`${(error as Error).message} in line ${number}`)
  }
}

/** What is in a folder, by name. */
interface Folder extends Map<string, Folder> {}

const excludedOf = (patterns: readonly PathPattern[], paths: readonly string[]): string[] => {
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
    const matching = patterns.map((pattern, index) => above[index] === true || matchesPath(pattern, path, spend))
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
