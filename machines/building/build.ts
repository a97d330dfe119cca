/** The phases of an image's build on this host: what the statechart of a version invokes. */
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import { eq } from "drizzle-orm"
import { readArchive } from "../../images/archive.ts"
import { BuildError } from "../../images/build.ts"
import type { Artifacts as BaseArtifacts } from "../../images/artifacts.ts"
import { DockerfileError } from "../../images/dockerfile/error.ts"
import { planBuild, type BaseImage } from "../../images/dockerfile/plan.ts"
import { toChains, type Grounds } from "../../images/layers.ts"
import { messageOf } from "../../src/errors.ts"
import type { Registry } from "../../images/registry/registry.ts"
import { imageBuilds, vms } from "../../src/db/schema.ts"
import type { Logs } from "../../src/logs/logs.ts"
import { imageGroup, placeLog, streamName } from "../../src/logs/names.ts"
import type { Artifacts } from "../../src/store/artifact.ts"
import type { Drive } from "../../src/vmm/vmm.ts"
import { beginBuild, environmentOf, running, type Build } from "./build-at-work.ts"
import type { BootSnapshots } from "./boot-snapshots.ts"
import { createBuildVm, died, type BuildVm } from "./build-vm.ts"
import { captureBase } from "./capture.ts"
import { makeFilesDrive, toFileDrive } from "./drives.ts"
import { keepBase } from "./kept-base.ts"
import type { KeptCaches } from "./kept-caches.ts"
import { buildChain } from "./stages.ts"
import { toPlace, type Places } from "../disks.ts"
import { MAIN_PROCESS } from "../vms/guest.ts"
import type { BaseQuota } from "../images/image-quota.ts"
import type { BuildVerbs } from "../image-version.ts"
import type { SecretBox } from "../images/images.ts"
import type { LayerCache } from "./layer-cache.ts"
import { untilReady } from "./ready.ts"
import type { Turns } from "./turns.ts"
import type { VmHost } from "../vm.ts"
import { findVm, type Database } from "../vm-row.ts"

export interface BuildOptions extends BaseQuota {
  readonly host: VmHost
  readonly db: Database & { transaction<T>(work: (tx: Database) => Promise<T>): Promise<T> }
  readonly places: Places
  readonly artifacts: Artifacts
  readonly base: BaseArtifacts
  readonly snapshots: BootSnapshots
  /** Where other base images come from. */
  readonly registry: Registry
  readonly layers: LayerCache
  readonly caches: KeptCaches
  readonly logs: Logs
  readonly secrets: SecretBox
  readonly turns: Turns
  /** A guest's memory is what its image asks for times this. */
  readonly memoryBurstFactor: number
  readonly createOverlay: (path: string) => Promise<void>
  /** How long an application has to accept connections. */
  readonly readyTimeoutMs: number
  /** Of every build, below its own. */
  readonly buildArguments: Readonly<Record<string, string>>
  /** How long a build may take from its turn on, and one of its steps. */
  readonly timeoutMs: number
  readonly stepTimeoutMs: number
  /** What the operator has under this id for `RUN --mount=type=secret`. */
  readonly secretOf: (id: string) => string | undefined
  /** Resolves when the version's row says what is being done. */
  readonly stored: (id: string) => Promise<void>
}

const DEFAULT_PORT = 8080
/** Of what .dockerignore leaves out and of build arguments, in the log. */
const [SHOWN_NAMES, SHOWN_CHARACTERS] = [20, 100]

/** The verbs over this host; builds in progress are held in memory, since none survives its daemon. */
export const createBuildVerbs = (options: BuildOptions): BuildVerbs => {
  const { host, db, places, layers, base } = options
  const { ledger } = host
  const grounds: Grounds = { managed: base.rootDiskHash, blank: base.blankDiskHash }
  const builds = new Map<string, Build>()
  /** The phase that each build is in, or was in last. */
  const phases = new Map<string, Promise<void>>()
  const phase =
    (work: (id: string, signal: AbortSignal) => Promise<void>) =>
    (id: string, signal: AbortSignal): Promise<void> => {
      const mine = inTime(id, signal, work)
      phases.set(id, mine)
      return mine
    }

  const find = (id: string): Build => {
    const build = builds.get(id)
    if (build === undefined) throw new Error(`There is no build of version ${id} here`)
    return build
  }

  return {
    queue: phase(async (id, signal) => {
      await options.stored(id)
      const build = await beginBuild(options, id)
      builds.set(id, build)
      const { vmId, memoryMiB } = build
      build.release = await options.turns.take(signal, (count) =>
        build.log.add(`Waiting for its turn: ${count === 0 ? "it is the next" : `${count} more before it`}`),
      )
      build.patience = AbortSignal.timeout(options.timeoutMs)
      await db.insert(vms).values({ id: vmId, hostId: host.hostId, kind: "build", memoryMiB, vcpus: 1 })
      await db.update(imageBuilds).set({ vmId }).where(eq(imageBuilds.id, build.buildId))
      // What the application says while its memory is being taken, in a stream of its own.
      const { account, region } = build.scope
      const address = placeLog(build.version.settings.logging, {
        account,
        region,
        group: imageGroup(build.imageName),
        stream: streamName(new Date(), build.version.version, build.buildId),
      })
      if (address !== undefined) await options.logs.create(db, vmId, address)
    }),

    fetch: phase(async (id, signal) => {
      const build = find(id)
      const { codeArtifactUri } = build.version
      build.log.add(`Fetching ${codeArtifactUri}`)
      build.artifact = await options.artifacts.openArtifact(codeArtifactUri, build.scope, signal)
      build.archive = await readArchive(build.artifact.path)
      const { excluded, dockerfile, settings } = build.archive
      if (excluded.length > 0) build.log.add(`Left out of the context: ${listOf(excluded)}`)
      const given = Object.keys(settings.arguments)
      if (given.length > 0) build.log.add(`Build arguments: ${listOf(given)}`)
      if (settings.target !== undefined) build.log.add(`Target: ${settings.target.slice(0, SHOWN_CHARACTERS)}`)
      build.plan = await planBuild(dockerfile, {
        target: settings.target,
        arguments: { ...options.buildArguments, ...settings.arguments },
        resolveImage: (reference, line) => resolveImage(build, reference, line, signal),
      })
      build.chains = toChains(build.plan, build.archive, grounds)
    }),

    build: phase(async (id, signal) => {
      const build = find(id)
      const { plan, archive, artifact, chains } = build
      const chain = chains?.at(-1)
      if (plan === undefined || archive === undefined || artifact === undefined || chain === undefined)
        throw new Error("Nothing was fetched")
      const vm = await createBuildVm({ ...options, artifacts: base, becomesBase: true }, build.vmId, build.memoryMiB)
      build.vm = vm
      let archiveDrive: Promise<Drive> | undefined
      build.rootDisk = await buildChain(
        chain,
        {
          account: build.scope.account,
          vm,
          layers: build.layers,
          artifacts: base,
          grounds,
          chains: build.chains!,
          told: new Set(),
          archive,
          proxies: plan.proxies,
          secretOf: options.secretOf,
          timeoutMs: options.stepTimeoutMs,
          log: build.log.add,
          async archiveDrive() {
            archiveDrive ??= toFileDrive(artifact.path, join(vm.directory, "archive.raw"))
            return { drive: await archiveDrive, bytes: artifact.bytes }
          },
          layersDrive: (digest, within) => layersDrive(build, vm, digest, within),
          async cachesDrive() {
            const own = join(vm.directory, "caches.raw")
            build.caches ??= await options.caches.take(build.scope, build.imageName, own, signal)
            return build.caches.drive
          },
        },
        signal,
      )
    }),

    start: phase(async (id, signal) => {
      const build = find(id)
      const { vm, rootDisk } = build
      if (vm === undefined) throw new Error("Nothing was built")
      rootDisk.push(await vm.newOverlay())
      const { live, agent } = await vm.begin({ rootDisk, drives: [] }, signal)
      const { settings } = build.plan!
      await agent.startProcess(
        MAIN_PROCESS,
        {
          argv: settings.argv,
          env: { ...settings.environment, ...environmentOf(build, options.secrets) },
          cwd: settings.workingDirectory,
          user: settings.user,
          capabilities: build.version.settings.capabilities,
          memoryMaxMiB: null,
          container: "app",
        },
        signal,
      )
      const port = settings.exposedPorts[0] ?? DEFAULT_PORT
      const ready = { agent, address: live.slot.address, port, timeoutMs: options.readyTimeoutMs, log: build.log.add }
      await Promise.race([untilReady(ready, signal), died(live)])
    }),

    capture: phase(async (id, signal) => {
      const build = find(id)
      const life = running(build)
      const { agent } = life
      await agent.settle(signal)
      agent.close()
      const baseId = randomUUID()
      const directory = join(places.dataDirectory, "bases", baseId)
      const overlay = build.rootDisk.pop()
      if (overlay === undefined) throw new Error("There is no disk to keep")
      const { memoryBytes, top } = await captureBase(life, { id: baseId, directory, overlay }, signal)
      const rootDisk = [...build.rootDisk, top]
      const row = {
        id: baseId,
        hostId: host.hostId,
        architecture: "x86_64",
        memoryMiB: build.memoryMiB,
        vcpus: 1,
        systemDisk: toPlace(places, base.systemDisk),
        rootDisk: rootDisk.map((path) => toPlace(places, path)),
      }
      const { diskBytes } = await keepBase(
        options.db,
        { row, directory, rootDisk, memoryBytes, codeBytes: build.artifact!.bytes, settings: build.plan!.settings },
        { account: build.scope.account, versionId: id, buildId: build.buildId },
        options,
      )
      build.log.add(
        `The base is ${(memoryBytes / 1024 ** 2).toFixed(0)} MiB of memory and ${(diskBytes / 1024 ** 2).toFixed(0)} MiB of disk above the managed image`,
      )
    }),

    async clean(id) {
      // What was cancelled is still undoing its last phase: nothing is removed under its hands.
      await phases.get(id)?.catch(() => {})
      phases.delete(id)
      const build = builds.get(id)
      const [row] = await db
        .select({ id: imageBuilds.id, vmId: imageBuilds.vmId })
        .from(imageBuilds)
        .where(eq(imageBuilds.imageVersionId, id))
      try {
        build?.vm?.life?.agent.close()
        if (row?.vmId != null) {
          if (build?.caches !== undefined) {
            await host.stop(await findVm(db, row.vmId))
            await build.caches.giveBack()
          }
          await host.end(row.vmId)
        }
        await build?.artifact?.[Symbol.asyncDispose]()
        await build?.log.end()
        // One that a dying daemon left has no writer any more.
        if (row !== undefined) await options.logs.end(row.id)
      } finally {
        // Whatever could not be removed: the next build has its turn. A base has a row by now, or never will.
        build?.release?.()
        build?.layers.release()
        builds.delete(id)
        if (build !== undefined) ledger.release(build.vmId)
      }
      for (const kept of [layers, options.caches])
        await kept
          .trim()
          .catch((error: unknown) => host.log.warn({ err: error }, "Layers or caches could not be removed"))
    },
  }

  async function inTime(id: string, signal: AbortSignal, work: (id: string, signal: AbortSignal) => Promise<void>) {
    const patience = builds.get(id)?.patience
    if (patience === undefined) return await work(id, signal)
    try {
      await work(id, AbortSignal.any([signal, patience]))
    } catch (error) {
      if (signal.aborted || !patience.aborted) throw error
      throw new BuildError(
        `The build took longer than ${options.timeoutMs / 1000} s, which is buildTimeoutSeconds of TORPOR_CONFIG`,
      )
    }
  }

  async function resolveImage(build: Build, reference: string, line: number, signal: AbortSignal): Promise<BaseImage> {
    const image = await options.registry.resolve(reference, signal).catch((error: unknown) => {
      throw new DockerfileError(line, messageOf(error))
    })
    build.references.set(image.content, image.reference)
    // What disks are made of: images that only start differently have one.
    return { digest: image.content, config: image.config }
  }

  async function layersDrive(build: Build, vm: BuildVm, digest: string, signal: AbortSignal) {
    const reference = build.references.get(digest)
    if (reference === undefined) throw new Error(`Nothing is known of ${digest}`)
    const image = await options.registry.fetch(reference, build.log.add, signal)
    const files = image.layers.map(({ file }) => file)
    return { drive: await makeFilesDrive(files, vm.directory, signal), count: files.length }
  }
}

/** The first of them, and how many more there are: strangers name them, as many and as long as they like. */
const listOf = (names: readonly string[]): string => {
  const shown = names.slice(0, SHOWN_NAMES).map((name) => name.slice(0, SHOWN_CHARACTERS))
  const more = names.length - shown.length
  return `${shown.join(", ")}${more > 0 ? ` and ${more} more` : ""}`
}
