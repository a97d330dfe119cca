import { matchesPath, parsePathPattern } from "../dockerfile/path-pattern.ts"

/** Whether a path is left out: given from the sources' root, and from the directory that was named. */
export type Exclusion = (path: string, inside: string) => boolean

/** Comparisons of a character with another: some seconds of an emulated core. */
const MAX_WORK = 100_000_000

/** What `--exclude` leaves out, a directory with all that is in it. The last pattern that matches decides. */
export const createExclusion = (texts: readonly string[]): Exclusion => {
  const patterns = texts.flatMap((text) => parsePathPattern(text) ?? [])
  if (patterns.length === 0) return () => false
  let work = 0
  const spend = (cost: number) => {
    work += cost
    if (work > MAX_WORK) throw new Error("--exclude takes too long on so many files")
  }
  return (path, inside) => {
    const readings = [path, inside].map((text) => text.split("/"))
    const decisive = patterns.findLast((pattern) => readings.some((parts) => matchesPath(pattern, parts, spend)))
    return decisive !== undefined && !decisive.takesBack
  }
}
