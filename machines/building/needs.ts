/** What a step needs beside its stage's own disk, and how many steps a life of the VM can execute with the drives that it has. */
import { DockerfileError } from "../../images/dockerfile/error.ts"
import type { Mount } from "../../images/dockerfile/mount.ts"
import type { Source } from "../../images/dockerfile/step.ts"
import type { LayerStep, Link } from "../../images/layers.ts"

export interface Needs {
  /** The build context, unpacked. */
  readonly context: boolean
  /** Room for what is fetched or may be written to; a context is unpacked there too. */
  readonly scratch: boolean
  readonly caches: boolean
  /** Disks of other stages and images. */
  readonly disks: ReadonlyMap<string, Exclude<Source, { kind: "context" }>>
  /** An image's layers, by its digest. */
  readonly layers: string | undefined
}

/** What layout v1 has beside system and root. */
const DRIVES = 4

const NOTHING: Needs = { context: false, scratch: false, caches: false, disks: new Map(), layers: undefined }

export const keyOf = (source: Source): string =>
  source.kind === "context" ? "context" : source.kind === "stage" ? `stage ${source.stage}` : source.digest

/** How many drives that makes. */
const drivesOf = ({ context, scratch, caches, disks, layers }: Needs): number =>
  (context ? 1 : 0) + (scratch ? 1 : 0) + (caches ? 1 : 0) + disks.size + (layers === undefined ? 0 : 1)

const needsOf = (step: LayerStep): Needs => {
  if (step.kind === "unpack") return { ...NOTHING, layers: step.digest }
  if (step.kind === "directory") return NOTHING
  const sources = step.kind === "copy" ? (step.sources.length > 0 ? [step.from] : []) : mountSources(step.mounts)
  const context = sources.some(({ kind }) => kind === "context")
  const writes =
    step.kind === "copy" ? step.remote.length > 0 : step.mounts.some((mount) => mount.kind === "bind" && mount.writable)
  return {
    context,
    scratch: context || writes,
    caches: step.kind === "run" && step.mounts.some(({ kind }) => kind === "cache"),
    disks: new Map(sources.flatMap((source) => (source.kind === "context" ? [] : [[keyOf(source), source]]))),
    layers: undefined,
  }
}

const mountSources = (mounts: readonly Mount[]): Source[] =>
  mounts.flatMap((mount) => {
    if (mount.kind === "bind") return [mount.from]
    return mount.kind === "cache" && mount.from !== null ? [mount.from] : []
  })

const together = (one: Needs, other: Needs): Needs => ({
  context: one.context || other.context,
  scratch: one.scratch || other.scratch,
  caches: one.caches || other.caches,
  disks: new Map([...one.disks, ...other.disks]),
  layers: one.layers ?? other.layers,
})

/** As many of these links, from the first on, as one life of the VM can execute, and what it needs for them. Throws when it can't execute even the first. */
export const firstPart = (links: readonly Link[]): { links: readonly Link[]; needs: Needs } => {
  let needs = NOTHING
  let count = 0
  for (const { step } of links) {
    const more = together(needs, needsOf(step))
    if (drivesOf(more) > DRIVES) break
    needs = more
    count++
  }
  const [first] = links
  if (count === 0 && first !== undefined)
    throw new DockerfileError(first.step.line, "it takes files from more stages and images than one step can")
  return { links: links.slice(0, count), needs }
}
