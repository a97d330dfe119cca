/** Lambda functions of a daemon, put together: what they are made of on this host, and all that serves them. */
import { availableParallelism } from "node:os"
import { join } from "node:path"
import type { Registry as Metrics } from "prom-client"
import { openRuntimes } from "../images/runtimes/runtime-disks.ts"
import type { BootSnapshots } from "../machines/building/boot-snapshots.ts"
import { createForesight } from "../machines/environments/foresight.ts"
import { createRuntimeGrounds } from "../machines/environments/runtime-grounds.ts"
import { openBases } from "../machines/environments/open-bases.ts"
import { openSnapshots, type SnapshotsOptions } from "../machines/environments/snapshots/open-snapshots.ts"
import { prepareStanding } from "../machines/environments/snapshots/snapshot-loading.ts"
import { makeSnapshot } from "../machines/environments/snapshots/snapshot-making.ts"
import { createStandingVms } from "../machines/environments/snapshots/standing-vms.ts"
import { createStarts } from "../machines/environments/starts.ts"
import { createWarmPool } from "../machines/environments/warm-pool.ts"
import { makeWarm } from "../machines/environments/warm-vm.ts"
import { createFunctionChanges } from "../machines/functions/changes.ts"
import { openZip } from "../machines/functions/code/code-store.ts"
import { createReadiness } from "../machines/functions/code/readiness.ts"
import { findDefinition } from "../machines/functions/definitions.ts"
import { buildDisk } from "../machines/functions/disks/disk-build.ts"
import { snapshotDirectory } from "../machines/environments/snapshots/version-snapshots.ts"
import { diskOwners } from "../machines/functions/disks/disk-owners.ts"
import { openDiskStore } from "../machines/functions/disks/disk-store.ts"
import { createDestinationCheck } from "../machines/functions/events/destinations/destinations.ts"
import { toFunctionLimits } from "../machines/functions/ground.ts"
import { openFunctions, type OpenFunctions } from "../machines/functions/open-functions.ts"
import { openServing, type Serving, type ServingOptions } from "../machines/functions/open-serving.ts"
import { recentlyUsed } from "../machines/functions/usage/recent-use.ts"
import { createUrlRouter, type UrlRouter } from "../machines/functions/urls/router.ts"
import type { Spares } from "../machines/vms/spares.ts"
import type { Config } from "./config.ts"
import type { MakingGround } from "./room-ground.ts"
import type { ArtifactStore } from "./store/artifact-store.ts"

export interface FunctionRoomsOptions extends MakingGround {
  readonly store: ArtifactStore
  readonly artifactDirectory: string
  readonly snapshots: BootSnapshots
  readonly spares: Spares
  readonly metrics: Metrics
  /** Whether what is unfinished is taken up: what is unsettled, queued, or to be kept. */
  readonly resumes: boolean
}

/** Functions that nobody has used or changed for longer are not expected to be used soon. */
const RECENT_MS = 7 * 86_400_000
/** Versions are looked through until enough stands ready; many are of one runtime. */
const MAX_RECENT = 100

export interface FunctionRooms extends AsyncDisposable {
  readonly functions: OpenFunctions
  readonly serving: Serving
  readonly urls: UrlRouter
}

/** Opens them, after the sweep of this host; environments that an earlier daemon left are taken over when it resolves. Disposing leaves them as they are. */
export const openFunctionRooms = async (
  {
    config,
    db,
    host,
    places,
    base,
    secrets,
    store,
    artifacts,
    artifactDirectory,
    snapshots,
    createOverlay,
    spares,
    work,
    metrics,
    resumes,
  }: FunctionRoomsOptions,
  signal: AbortSignal,
): Promise<FunctionRooms> => {
  const { hostId, ledger, log } = host
  await using opened = new AsyncDisposableStack()
  const diskBuild = { host, artifacts: base, snapshots, createOverlay, openZip: (zip: string) => openZip(store, zip) }
  const disks = opened.use(
    await openDiskStore({
      directory: join(places.dataDirectory, "functions/disks"),
      build: (zips, to, buildSignal) => buildDisk(diskBuild, zips, to, buildSignal),
      owners: () => diskOwners(db, secrets, hostId),
      maxConcurrentBuilds: config.maxConcurrentBuilds,
      maxBytes: config.environments.maxDisksMiB * 1024 ** 2,
      holders: [join(places.dataDirectory, "vms"), snapshotDirectory(places.dataDirectory)],
      log,
    }),
  )
  const runtimes = opened.use(openRuntimes(config, (line) => log.info(line)))
  const grounds = createRuntimeGrounds({ db, hostId, places, runtimes, mapped: config.functions.runtimes })
  const bases = opened.use(
    openBases({
      host: { ...host, db },
      places,
      artifacts: base,
      snapshots,
      createOverlay,
      grounds,
      maxBytes: config.environments.maxBasesMiB * 1024 ** 2,
    }),
  )
  const changes = createFunctionChanges()
  const definitionOf = async (versionId: string) => (await findDefinition(db, secrets, versionId))?.definition
  const making = { db, host, places, createOverlay, emptyDrive: base.emptyDrive, bases, disks }
  const pool = opened.use(
    createWarmPool({
      host,
      make: (ground, need, within) => makeWarm({ ...making, spares }, ground, need, within),
      ...toWarmLimits(config),
    }),
  )
  const standing = opened.use(
    createStandingVms({
      host,
      prepare: (snapshot, within) => prepareStanding(making, snapshot, within),
      ...toWarmLimits(config),
    }),
  )
  const versionSnapshots = opened.use(
    await openSnapshots({
      db,
      host,
      dataDirectory: places.dataDirectory,
      standing,
      make: (definition, directory, within) => makeSnapshot(making, definition, directory, within),
      changes,
      isCurrent: async ({ versionId, id }) => (await definitionOf(versionId))?.id === id,
      metrics,
      ...toSnapshotLimits(config),
    }),
  )
  const optimise = async (versionId: string, within: AbortSignal) => {
    const definition = await definitionOf(versionId)
    if (definition !== undefined) await versionSnapshots.prepare(definition, within)
  }
  const starts = createStarts()
  const foresight = opened.use(
    createForesight({
      bases,
      temporaryOf: (roomMiB, within) => disks.temporaryOf(roomMiB, within),
      pool,
      snapshots: versionSnapshots,
      starts,
      async *likely() {
        for (const versionId of await recentlyUsed(db, hostId, new Date(Date.now() - RECENT_MS), MAX_RECENT)) {
          const definition = await definitionOf(versionId)
          if (definition !== undefined) yield definition
        }
      },
      log,
    }),
  )
  const functions = opened.use(
    await openFunctions({
      db,
      changes,
      hostId,
      secrets,
      store,
      artifacts,
      artifactDirectory,
      readiness: createReadiness(grounds, bases, disks, optimise, foresight),
      limits: toFunctionLimits(config.functions),
      checkDestination: createDestinationCheck(config.destinations),
      resumes,
      log,
    }),
  )
  const serving = opened.use(
    await openServing(
      {
        db,
        host,
        places,
        emptyDrive: base.emptyDrive,
        createOverlay,
        spares,
        pool,
        starts,
        secrets,
        work,
        ledger,
        bases,
        disks,
        snapshots: versionSnapshots,
        changes,
        destinations: config.destinations,
        roles: config.roles,
        metrics,
        resumes,
        limits: toLimits(config),
      },
      signal,
    ),
  )
  const { invoker } = serving.invoking
  const urls = createUrlRouter({ db, changes, invoker, domain: `lambda-url.${config.domain}` })
  if (resumes) foresight.begin()
  const held = opened.move()
  return { functions, serving, urls, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

const toSnapshotLimits = ({
  environments: {
    versionSnapshots: { automatic, minInitSeconds, maxMiB, unusedDays },
  },
}: Config): Pick<SnapshotsOptions, "policy" | "limits"> => ({
  policy: { isAutomatic: automatic, minInitMs: minInitSeconds * 1000 },
  limits: { maxBytes: maxMiB * 1024 ** 2, unusedMs: unusedDays * 86_400_000, maxBookedShare: 0.5 },
})

const toWarmLimits = ({ environments: { maxWarmVms, warmSeconds } }: Config) => ({
  maxVms: maxWarmVms,
  maxBookedShare: 0.5,
  idleMs: warmSeconds * 1000,
})

const toLimits = ({ functions, environments, events }: Config): ServingOptions["limits"] => ({
  functions: toFunctionLimits(functions),
  environments: {
    idleMs: environments.idleSeconds * 1000,
    lifetimeMs: environments.lifetimeSeconds * 1000,
    initMs: environments.initSeconds * 1000,
  },
  invoking: {
    concurrentExecutions: functions.concurrentExecutions,
    startsPerTenSeconds: environments.startsPerTenSeconds,
    startsAtOnce: environments.maxConcurrentStarts,
    firstStartsAtOnce: availableParallelism(),
    waiting: {
      count: environments.maxWaiting,
      bytes: environments.maxWaitingMiB * 1024 ** 2,
      waitMs: environments.waitSeconds * 1000,
    },
  },
  events: {
    eventsPerFunction: events.maxPerFunction,
    bytesPerFunction: events.maxMiBPerFunction * 1024 ** 2,
    events: events.max,
    bytes: events.maxMiB * 1024 ** 2,
  },
  maxEventsInFlight: events.maxInFlight,
  usageDays: environments.usageDays,
})
