/** A layer is a step's disk, named by the hash of the chain that made it: same base, same steps, same files, same name. */
import { createHash } from "node:crypto"
import type { Archive, ArchiveEntry } from "./archive.ts"
import { DockerfileError } from "./dockerfile/error.ts"
import { isGlob, matchesGlob } from "./dockerfile/glob.ts"
import type { BuildPlan, CopyStep, Step } from "./dockerfile/plan.ts"

/** Grows when the same step would leave another disk: how we copy, or run, has changed. */
const LAYER_FORMAT = "1"

/** A COPY with its globs resolved against the archive: paths in the context, each a file or a directory. */
export const resolveSources = (step: CopyStep, { entries }: Archive): string[] => {
  const paths = allPaths(entries)
  const found = step.sources.flatMap((source) => {
    const wanted = source.replace(/^(?:\.?\/)+/, "").replace(/\/+$/, "")
    if (wanted === "" || wanted === ".") return ["."]
    if (!isGlob(wanted)) return paths.has(wanted) || hasLinks(entries) ? [wanted] : []
    return [...paths].filter((path) => matchesGlob(wanted, path)).toSorted()
  })
  if (found.length === 0)
    throw new DockerfileError(
      step.line,
      `${step.sources.map((source) => `"${source}"`).join(", ")}: not found in the build context`,
    )
  return found
}

/** Every path of the archive, with the directories that only files' names tell of. */
const allPaths = (entries: readonly ArchiveEntry[]): Set<string> => {
  const paths = new Set<string>()
  for (const { path } of entries)
    for (let end = path.indexOf("/"); ; end = path.indexOf("/", end + 1)) {
      paths.add(end === -1 ? path : path.slice(0, end))
      if (end === -1) break
    }
  return paths
}

const hasLinks = (entries: readonly ArchiveEntry[]) => entries.some(({ kind }) => kind === "link")

/** What a COPY takes, as one digest. With links in the archive it is all of it: a link's target is only known when it is followed. */
const contentOf = (step: CopyStep, archive: Archive): string => {
  const sources = resolveSources(step, archive)
  const hash = createHash("sha256")
  const whole = hasLinks(archive.entries) || sources.includes(".")
  for (const { path, kind, mode, digest } of archive.entries.toSorted((a, b) => (a.path < b.path ? -1 : 1)))
    if (whole || sources.some((source) => path === source || path.startsWith(`${source}/`)))
      hash.update(JSON.stringify([path, kind, mode, digest]))
  return hash.update(JSON.stringify(sources)).digest("hex")
}

/** The layer names of a plan, one for each step. Throws when a COPY finds nothing. */
export const layerHashes = (plan: BuildPlan, archive: Archive, baseHash: string): string[] => {
  let parent = createHash("sha256")
    .update(JSON.stringify([LAYER_FORMAT, baseHash]))
    .digest("hex")
  return plan.steps.map((step) => {
    parent = createHash("sha256")
      .update(JSON.stringify([parent, argumentsOf(step), step.kind === "copy" ? contentOf(step, archive) : ""]))
      .digest("hex")
    return parent
  })
}

/** What of a step decides its disk; not where it stands, nor how it was written. */
const argumentsOf = (step: Step): unknown => {
  const { line: _line, text: _text, ...rest } = step
  return rest
}
