/**
 * Turns chains into disks: what the cache has is taken from it, and the rest is executed in the build's VM, a life for as many steps as
 * its drives allow. Only what the disk that is asked for needs is made; a stage whose files nobody takes any more is not.
 */
import { chown } from "node:fs/promises"
import { ArchiveError } from "../../images/archive-error.ts"
import type { Archive } from "../../images/archive.ts"
import type { Artifacts } from "../../images/artifacts.ts"
import { executeStep, type StepOptions } from "../../images/build.ts"
import type { Source } from "../../images/dockerfile/step.ts"
import { chainOfImage, type Chain, type Grounds, type Link } from "../../images/layers.ts"
import { AgentError } from "../../src/agent/agent-error.ts"
import type { DrivePlace } from "../../src/agent/protocol.ts"
import type { Drive } from "../../src/vmm/vmm.ts"
import { toDriveFile } from "../disks.ts"
import type { LayerLease } from "./layer-cache.ts"
import type { BuildLife, BuildVm } from "./build-vm.ts"
import { firstPart, keyOf, type Needs } from "./needs.ts"

export interface StagesOptions extends Pick<StepOptions, "proxies" | "secretOf" | "timeoutMs" | "log"> {
  readonly account: string
  readonly vm: BuildVm
  readonly layers: LayerLease
  readonly artifacts: Pick<Artifacts, "rootDisk" | "blankDisk">
  readonly grounds: Grounds
  /** Of each stage of the plan. */
  readonly chains: readonly Chain[]
  /** The steps that the log has told of: a stage is asked for by each part of another that takes from it. */
  readonly told: Set<number>
  readonly archive: Archive
  /** A drive of the archive; how long the archive is on it is told beside. */
  readonly archiveDrive: () => Promise<{ readonly drive: Drive; readonly bytes: number }>
  /** A drive whose file system holds an image's layers, `0` the lowest. */
  readonly layersDrive: (
    digest: string,
    signal: AbortSignal,
  ) => Promise<{ readonly drive: Drive; readonly count: number }>
  /** A drive that this build has to itself, with what the build before it left. */
  readonly cachesDrive: () => Promise<Drive>
}

/** A disk of more files than this above its ground gets all of them in one: every launch opens each. */
const MAX_LAYERS = 16
/** Where on a scratch drive the context is unpacked. */
const CONTEXT_PATH = "/context"

/** The files of a chain's disk, bottom first; they are never written again. Throws what a step failed with. */
export const buildChain = async (chain: Chain, options: StagesOptions, signal: AbortSignal): Promise<string[]> => {
  const { account, layers, artifacts, told, log } = options
  const { ground, links } = chain
  const cached = await layers.find(
    account,
    links.map(({ hash }) => hash),
  )
  for (const { step, number } of links.slice(0, cached.count)) {
    if (number === null || told.has(number)) continue
    told.add(number)
    log(`#${number} ${step.text}\n#${number} CACHED`)
  }
  const files = [ground === "managed" ? artifacts.rootDisk : artifacts.blankDisk, ...cached.files]
  for (let pending = links.slice(cached.count); pending.length > 0;) {
    const part = firstPart(pending)
    await executePart(part, files, options, signal)
    pending = pending.slice(part.links.length)
  }
  return files
}

/** Executes some links in one life, and adds a file for each. */
const executePart = async (
  { links, needs }: { readonly links: readonly Link[]; readonly needs: Needs },
  files: string[],
  options: StagesOptions,
  signal: AbortSignal,
): Promise<void> => {
  const { account, vm, layers, archive, proxies, secretOf, log, timeoutMs } = options
  // First, since their steps take lives of the same VM.
  const disks = new Map<string, readonly string[]>()
  for (const [key, source] of needs.disks) disks.set(key, await buildChain(chainOf(source, options), options, signal))
  const drives = await gatherDrives(needs, disks, options, signal)
  let overlay = await vm.newOverlay()
  const life = await vm.begin({ rootDisk: [...files, overlay], drives: drives.all }, signal)
  await mountDrives(drives, life, archive, signal)
  const execution = {
    agent: life.agent,
    archive,
    placeOf: (source: Source) => drives.places.get(keyOf(source)) ?? nowhere(keyOf(source)),
    scratch: drives.places.get("scratch") ?? UNUSED,
    caches: drives.places.get("caches") ?? UNUSED,
    layers: { from: drives.places.get("layers") ?? UNUSED, count: drives.layerCount },
    proxies,
    secretOf,
    log,
    timeoutMs,
  }
  try {
    for (const link of links) {
      if (link.number !== null) options.told.add(link.number)
      await executeStep(link, execution, signal)
      const next = await vm.newOverlay()
      await seal(life, next, files.length > MAX_LAYERS, signal)
      if (files.length > MAX_LAYERS) files.splice(1)
      const parent = files.length === 1 ? undefined : files.at(-1)
      files.push(await layers.keep(account, link.hash, parent, overlay))
      overlay = next
    }
  } finally {
    // What was cached is on its drive, also by a step that failed; one whose VM is gone has lost it.
    if (needs.caches) await life.agent.settle(signal).catch(() => {})
  }
}

const UNUSED: DrivePlace = { drive: 0, path: "/" }

const nowhere = (key: string): never => {
  throw new Error(`Nothing is mounted for ${key}`)
}

const chainOf = (source: Exclude<Source, { kind: "context" }>, { chains, grounds }: StagesOptions): Chain =>
  source.kind === "stage" ? chains[source.stage]! : chainOfImage(source.digest, grounds)

interface Drives {
  readonly all: readonly Drive[]
  readonly places: ReadonlyMap<string, DrivePlace>
  readonly archive: { readonly drive: number; readonly bytes: number } | undefined
  readonly layerCount: number
}

const gatherDrives = async (
  needs: Needs,
  disks: ReadonlyMap<string, readonly string[]>,
  options: StagesOptions,
  signal: AbortSignal,
): Promise<Drives> => {
  const { vm, artifacts } = options
  const all: Drive[] = []
  const places = new Map<string, DrivePlace>()
  const add = (drive: Drive): number => all.push(drive) - 1
  let archive: Drives["archive"]
  let layerCount = 0
  if (needs.context) {
    const { drive, bytes } = await options.archiveDrive()
    archive = { drive: add(drive), bytes }
  }
  if (needs.scratch) {
    const chain = [artifacts.blankDisk, await vm.newOverlay()].map(toDriveFile)
    const drive = add({ chain, readOnly: false })
    places.set("scratch", { drive, path: "/scratch" })
    if (needs.context) places.set("context", { drive, path: CONTEXT_PATH })
  }
  if (needs.caches) places.set("caches", { drive: add(await options.cachesDrive()), path: "/caches" })
  if (needs.layers !== undefined) {
    const { drive, count } = await options.layersDrive(needs.layers, signal)
    places.set("layers", { drive: add(drive), path: "" })
    layerCount = count
  }
  for (const [key, files] of disks)
    places.set(key, { drive: add({ chain: files.map(toDriveFile), readOnly: true }), path: "" })
  return { all, places, archive, layerCount }
}

/** Each of them once; the archive is no file system. */
const mountDrives = async (drives: Drives, { agent }: BuildLife, archive: Archive, signal: AbortSignal) => {
  const mounted = new Set([...drives.places.values()].map(({ drive }) => drive))
  const specs = [...mounted].map((drive) => ({ drive, isReadOnly: drives.all[drive]?.readOnly ?? true }))
  if (specs.length > 0) await agent.mountDrives(specs, signal)
  const into = drives.places.get("context")
  if (drives.archive === undefined || into === undefined) return
  const { drive: archiveDrive, bytes: archiveBytes } = drives.archive
  await agent
    .unpackContext({ archiveDrive, archiveBytes, into, excluded: archive.excluded }, signal)
    .catch((error: unknown) => {
      if (!(error instanceof AgentError)) throw error
      throw new ArchiveError("ARCHIVE_INVALID", `The code artifact cannot be unpacked: ${error.message}`)
    })
}

/** What the step has made is in its file, with all that is below it where that is `whole`, and the next goes on in another. */
const seal = async ({ live, agent }: BuildLife, next: string, whole: boolean, signal: AbortSignal): Promise<void> => {
  await chown(next, live.slot.uid, live.slot.uid)
  await agent.freezeDisk(signal)
  try {
    if (whole) await live.vm.mergeRootDisk(signal)
    await live.vm.sealRootDisk(toDriveFile(next))
  } finally {
    await agent.thawDisk(signal)
  }
}
