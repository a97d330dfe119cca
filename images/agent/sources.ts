/** What a COPY's sources name on a disk that only the guest can look at: globs are resolved where the files are. */
import { lstat, readdir } from "node:fs/promises"
import type { CopySpec } from "../../src/agent/protocol.ts"
import { isGlob, parseGlobPart } from "../dockerfile/glob.ts"
import { resolveInImage } from "./image-root.ts"

export interface FoundSource {
  readonly path: string
  /** What of its path `--parents` keeps. */
  readonly kept: string
}

const MAX_FOUND = 200_000
const MAX_WORK = 100_000_000

/** The sources of a copy, each a path below `from`; throws when a glob matches nothing and nothing else is copied. */
export const findSources = async (
  { sources, hasGlobs, where, inline }: Pick<CopySpec, "sources" | "hasGlobs" | "where" | "inline">,
  from: string,
): Promise<FoundSource[]> => {
  let work = 0
  const expand = async (pattern: string): Promise<string[]> => {
    let found = [""]
    for (const part of pattern.split("/").filter((name) => name !== "" && name !== ".")) {
      const next: string[] = []
      const glob = isGlob(part) ? parseGlobPart(part) : undefined
      if (isGlob(part) && glob === undefined) throw new Error(`syntax error in pattern: ${part.slice(0, 100)}`)
      for (const path of found) {
        const names = glob === undefined ? [part] : await readdir(resolveInImage(path, from)).catch(() => [])
        for (const name of names.toSorted()) {
          work += glob?.cost(name.length) ?? 1
          if (work > MAX_WORK || next.length > MAX_FOUND)
            throw new Error(`"${pattern.slice(0, 100)}" names too many files`)
          if (glob === undefined || glob.matches(name)) next.push(path === "" ? name : `${path}/${name}`)
        }
      }
      found = next
    }
    if (!isGlob(pattern)) return found
    // A plain part behind a glob is there in some of them only.
    const there = await Promise.all(
      found.map(async (path) => (await lstat(resolveInImage(path, from)).catch(() => undefined)) !== undefined),
    )
    return found.filter((_, index) => there[index])
  }
  const all: FoundSource[] = []
  for (const { path, dropped } of sources)
    for (const found of hasGlobs ? await expand(path) : [path])
      all.push({ path: found, kept: found.split("/").slice(dropped).join("/") })
  if (all.length === 0 && sources.length > 0 && inline.length === 0)
    throw new Error(
      `nothing ${where} is named ${sources
        .map(({ path }) => `"${path.slice(0, 100)}"`)
        .join(", ")
        .slice(0, 500)}`,
    )
  return all
}
