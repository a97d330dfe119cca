/**
 * What a stage's disk is made of: a ground, and on it one layer for each step, named by the hash of the chain that made it. Same ground,
 * same steps, same files: same name. Stages that begin with another stage have its chain below their own.
 */
import { createHash, randomUUID } from "node:crypto"
import type { Archive } from "./archive.ts"
import type { Found } from "./context.ts"
import { DockerfileError } from "./dockerfile/error.ts"
import { isGlob } from "./dockerfile/glob.ts"
import type { BuildPlan, Stage } from "./dockerfile/plan.ts"
import type { CopyStep, RunStep, Source, Step } from "./dockerfile/step.ts"

/** What a base image from a registry is on a blank disk. */
export interface UnpackStep {
  readonly kind: "unpack"
  readonly line: number
  readonly text: string
  readonly digest: string
}

export type LayerStep = Step | UnpackStep

export interface Link {
  readonly hash: string
  readonly step: LayerStep
  /** Counted through all stages, from 1; an image that only gives files has none. */
  readonly number: number | null
}

export interface Chain {
  readonly ground: "managed" | "blank"
  readonly links: readonly Link[]
}

/** What the two grounds are, as equal texts for equal disks. */
export interface Grounds {
  readonly managed: string
  readonly blank: string
}

/** Grows when the same step would leave another disk: how we copy, run or unpack has changed. */
const LAYER_FORMAT = "4"
const MAX_PATHS = 200_000

/** The chain of each stage. Throws when a COPY finds nothing. */
export const toChains = (plan: BuildPlan, archive: Archive, grounds: Grounds): Chain[] => {
  const chains: Chain[] = []
  let number = 0
  for (const stage of plan.stages) {
    const below = chainBelow(stage, chains, grounds, () => ++number)
    let parent = tipOf(below, grounds)
    const own = stage.steps.map((step): Link => {
      parent = hashOf([parent, argumentsOf(step, chains, grounds), contentOf(step, archive)])
      return { hash: parent, step, number: ++number }
    })
    chains.push({ ...below, links: [...below.links, ...own] })
  }
  return chains
}

/** The chain of an image from which files are taken. */
export const chainOfImage = (digest: string, grounds: Grounds): Chain => {
  const step: UnpackStep = { kind: "unpack", line: 0, text: `FROM ${digest}`, digest }
  return { ground: "blank", links: [{ hash: hashOf([hashOf([grounds.blank]), "image", digest]), step, number: null }] }
}

const chainBelow = (
  { ground, line, text }: Stage,
  chains: readonly Chain[],
  grounds: Grounds,
  count: () => number,
): Chain => {
  if (ground.kind === "stage") return chains[ground.stage]!
  if (ground.kind !== "image") return { ground: ground.kind === "managed" ? "managed" : "blank", links: [] }
  const { links } = chainOfImage(ground.digest, grounds)
  return {
    ground: "blank",
    links: links.map(({ hash }) => ({
      hash,
      step: { kind: "unpack", line, text, digest: ground.digest },
      number: count(),
    })),
  }
}

const hashOf = (parts: unknown): string =>
  createHash("sha256")
    .update(JSON.stringify([LAYER_FORMAT, parts]))
    .digest("hex")

const tipOf = ({ ground, links }: Chain, grounds: Grounds): string => links.at(-1)?.hash ?? hashOf([grounds[ground]])

/** What of a step decides its disk; not where it stands, nor how it was written. A stage is told by what it is made of. */
const argumentsOf = (step: Step, chains: readonly Chain[], grounds: Grounds): string => {
  const { line: _line, text: _text, ...rest } = step
  return JSON.stringify(rest, (_, value: unknown) =>
    isStage(value) ? { stage: tipOf(chains[value.stage]!, grounds) } : value,
  )
}

const isStage = (value: unknown): value is Extract<Source, { kind: "stage" }> =>
  typeof value === "object" && value !== null && "kind" in value && value.kind === "stage" && "stage" in value

/** What the files that a step takes from the context are; what the network gives without a checksum is never known. */
const contentOf = (step: Step, archive: Archive): unknown => {
  if (step.kind === "run") return mountedContent(step, archive)
  if (step.kind === "directory") return ""
  const fresh = step.remote.some(({ checksum }) => checksum === null) ? randomUUID() : ""
  if (step.from.kind !== "context" || step.sources.length === 0) return fresh
  return [fresh, linked(archive), ...findSources(step, archive).map(({ digest }) => digest)]
}

const mountedContent = ({ mounts, line }: RunStep, archive: Archive): unknown =>
  mounts.flatMap((mount) => {
    if ((mount.kind !== "bind" && mount.kind !== "cache") || mount.from?.kind !== "context") return []
    const { paths, digest } = inLine(line, () => archive.context.find(cleanPath(mount.source)))
    if (paths.length === 0 && !archive.context.hasLinks)
      throw new DockerfileError(line, `"${mount.source.slice(0, 100)}": not found in the build context`)
    return [linked(archive), digest]
  })

/** With links in the archive a step depends on all of it: a link's target is only known when it is followed. */
const linked = ({ context }: Archive) => (context.hasLinks ? context.digest : "")

export interface ResolvedSource {
  readonly path: string
  /** How many of its first parts `--parents` drops. */
  readonly dropped: number
}

/** What a COPY from the context takes, its globs resolved against the archive: paths in the context, each a file or a directory. */
export const resolveSources = (step: CopyStep, archive: Archive): ResolvedSource[] => {
  const found = findSources(step, archive)
  if (found.reduce((sum, { paths }) => sum + paths.length, 0) > MAX_PATHS)
    throw new DockerfileError(step.line, `${step.text.split(" ")[0]} names more than ${MAX_PATHS} paths`)
  return found.flatMap(({ paths }, index) =>
    paths.map((path) => ({ path, dropped: droppedOf(step.sources[index] ?? "") })),
  )
}

/** The same for a source that only its guest can resolve. */
export const toSources = ({ sources }: CopyStep): ResolvedSource[] =>
  sources.map((source) => ({ path: cleanPath(source), dropped: droppedOf(source) }))

/** `/./` in a source says from where on its directories are kept. */
const droppedOf = (source: string): number => {
  const pivot = source.indexOf("/./")
  return pivot === -1 ? 0 : partsOf(source.slice(0, pivot)).length
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
    const here = inLine(step.line, () => context.find(clean))
    if (here.paths.length > 0 || isGlob(clean)) return here
    // Maybe behind a link: the guest finds out.
    return context.hasLinks ? { paths: [clean], digest: context.digest } : missing([source])
  })
  const others = step.inline.length + step.remote.length
  return others === 0 && found.every(({ paths }) => paths.length === 0) ? missing(step.sources) : found
}

const partsOf = (path: string): string[] => {
  const parts: string[] = []
  for (const part of path.split("/")) {
    if (part === "..") parts.pop()
    else if (part !== "" && part !== ".") parts.push(part)
  }
  return parts
}

const cleanPath = (path: string): string => partsOf(path).join("/") || "."

const inLine = <Answer>(line: number, work: () => Answer): Answer => {
  try {
    return work()
  } catch (error) {
    throw new DockerfileError(line, (error as Error).message)
  }
}
