/** A layer is a step's disk, named by the hash of the chain that made it: same base, same steps, same files, same name. */
import { createHash } from "node:crypto"
import type { Archive } from "./archive.ts"
import type { Found } from "./context.ts"
import { DockerfileError } from "./dockerfile/error.ts"
import { isGlob } from "./dockerfile/glob.ts"
import type { Stage } from "./dockerfile/plan.ts"
import type { CopyStep, Step } from "./dockerfile/step.ts"

/** Grows when the same step would leave another disk: how we copy, or run, has changed. */
const LAYER_FORMAT = "2"
const MAX_PATHS = 200_000

/** A COPY with its globs resolved against the archive: paths in the context, each a file or a directory. */
export const resolveSources = (step: CopyStep, archive: Archive): string[] => {
  const found = findSources(step, archive)
  if (found.reduce((sum, { paths }) => sum + paths.length, 0) > MAX_PATHS)
    throw new DockerfileError(step.line, `COPY names more than ${MAX_PATHS} paths`)
  return found.flatMap(({ paths }) => paths)
}

/** As Docker has it, what is named must be there, and globs may match nothing as long as something is copied. */
const findSources = (step: CopyStep, { context }: Archive): Found[] => {
  const missing = (sources: readonly string[]): never => {
    const named = sources.map((source) => `"${source.slice(0, 100)}"`).join(", ")
    throw new DockerfileError(step.line, `${named.slice(0, 500)}: not found in the build context`)
  }
  const found = step.sources.map((source): Found => {
    // Above the context there is nothing: Docker stays at its root.
    const clean = cleanPath(source)
    const here = inStep(step, () => context.find(clean))
    if (here.paths.length > 0 || isGlob(clean)) return here
    // Maybe behind a link: the guest finds out.
    return context.hasLinks ? { paths: [clean], digest: context.digest } : missing([source])
  })
  return step.inline.length === 0 && found.every(({ paths }) => paths.length === 0) ? missing(step.sources) : found
}

const cleanPath = (path: string): string => {
  const parts: string[] = []
  for (const part of path.split("/")) {
    if (part === "..") parts.pop()
    else if (part !== "" && part !== ".") parts.push(part)
  }
  return parts.join("/") || "."
}

const inStep = <Answer>(step: CopyStep, work: () => Answer): Answer => {
  try {
    return work()
  } catch (error) {
    throw new DockerfileError(step.line, (error as Error).message)
  }
}

/** What a COPY takes, as one digest. With links in the archive it is all of it: a link's target is only known when it is followed. */
const contentOf = (step: CopyStep, archive: Archive): unknown => [
  archive.context.hasLinks ? archive.context.digest : "",
  ...findSources(step, archive).map(({ digest }) => digest),
]

/** The layer names of a stage, one for each step. Throws when a COPY finds nothing. */
export const layerHashes = (stage: Stage, archive: Archive, baseHash: string): string[] => {
  let parent = createHash("sha256")
    .update(JSON.stringify([LAYER_FORMAT, baseHash]))
    .digest("hex")
  return stage.steps.map((step) => {
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
