/** Puts the rooms together: a data directory, its database, this host's VMs, and the two servers in front of them. */
import { unlessAborted } from "./abort.ts"
import { mkdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { Registry as Metrics, collectDefaultMetrics } from "prom-client"
import { dropStaleBases } from "../machines/environments/runtime-bases.ts"
import { toUrlRouter, type UrlRouter } from "../machines/functions/urls/router.ts"
import { openOldRows } from "../machines/old-rows.ts"
import { restoreBuilds, sweepBases, sweepHost } from "../machines/recovery.ts"
import { suspendAll } from "../machines/suspend-all.ts"
import { createWork } from "../machines/work.ts"
import { createSpares } from "../machines/spares.ts"
import { createVmHost } from "../machines/vm.ts"
import { liveVms } from "../machines/vm-row.ts"
import { createEdgeMetrics } from "../proxy/metrics.ts"
import { openEdge } from "../proxy/server.ts"
import { createUrlSignatures } from "./api/aws/functions/url-signatures.ts"
import { createVerifier } from "./api/aws/sigv4.ts"
import type { Config } from "./config.ts"
import { createAnswering } from "./db/answering.ts"
import { createKeyStore } from "./db/identity.ts"
import { openGround } from "./ground.ts"
import type { Log } from "./log.ts"
import { createLogs } from "./logs/logs.ts"
import { openMicrovmRooms } from "./microvms.ts"
import { createBuiltInArtifacts } from "./store/built-in-artifacts.ts"
import { defaultStoreLimits, openArtifactStore } from "./store/artifact-store.ts"
import { openTokenKeys } from "./tokens/keys.ts"
import { createTokens } from "./tokens/tokens.ts"

export interface Daemon {
  readonly apiUrl: string
  readonly edgePort: number
  readonly hostId: string
  readonly caFile: string | undefined
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string; readonly region: string }
  /** Stops serving and puts every VM that runs to sleep; resolves with how many sleep then. */
  suspendAll(signal: AbortSignal): Promise<number>
  /** Ends every VM of this host id, builds too; for a daemon whose data directory goes with it. */
  endAll(): Promise<void>
  /** Stops serving; VMs and the private Postgres run on. */
  close(): Promise<void>
}

const GRACE_MS = 10_000

/**
 * Starts a daemon; resolves when it serves. What was opened is closed again when a part of it fails. One that is to put VMs to sleep
 * and no more is told not to resume: builds, functions that are being prepared, events that wait and environments that are to be kept
 * are left to the next.
 */
export const startDaemon = async (
  config: Config,
  log: Log,
  progress: (line: string) => void,
  signal: AbortSignal,
  { resumes = true }: { resumes?: boolean } = {},
): Promise<Daemon> => {
  await using opened = new AsyncDisposableStack()
  const { data, secrets, base, db, keys, registry, certificates, vms } = opened.use(
    await openGround(config, log, progress, signal),
  )
  const { hostId } = data
  const { accelerator, createOverlay, vmm, slots, ledger } = vms
  const isDatabaseAnswering = createAnswering(db)

  const logs = opened.use(
    createLogs({
      db,
      hostId,
      limits: {
        bytesPerLog: config.logs.maxMiBEach * 1024 ** 2,
        bytesPerGroup: config.logs.maxMiBPerGroup * 1024 ** 2,
        bytesPerHost: config.logs.maxMiB * 1024 ** 2,
        days: config.logs.days,
      },
      log,
    }),
  )
  const secretOf = (vmId: string, incarnation: number) => secrets.derive("agent", vmId, String(incarnation))
  const host = createVmHost({ vmm, slots, ledger, db, hostId, dataDirectory: data.path, logs, log, secretOf })
  const places = { cacheDirectory: config.cacheDirectory, dataDirectory: data.path }

  const store = await openArtifactStore(join(data.path, "store"), {
    ...defaultStoreLimits,
    maxAccountBytes: config.artifacts.maxMiBPerAccount * 1024 ** 2,
    maxAccountFiles: config.artifacts.maxFilesPerAccount,
    maxBucketsPerAccount: config.artifacts.maxBucketsPerAccount,
    uploadMs: config.artifacts.uploadHours * 3600_000,
  })
  const artifactDirectory = join(data.path, "artifacts")
  // What a killed daemon was fetching.
  await rm(artifactDirectory, { recursive: true, force: true })
  await mkdir(artifactDirectory, { recursive: true, mode: 0o700 })
  const artifactLimits = { directory: artifactDirectory, maxBytes: config.maxArtifactMiB * 1024 ** 2 }
  const openRemoteArtifacts = async (endpoint: string) => {
    // Most have none, and loading S3's client takes a fifth of a start.
    const { createRemoteArtifacts } = await import("./store/remote-artifacts.ts")
    return opened.use(createRemoteArtifacts({ endpoint, ...data.credentials, ...artifactLimits }))
  }
  const artifacts =
    config.s3Endpoint === undefined
      ? createBuiltInArtifacts(store, artifactLimits)
      : await openRemoteArtifacts(config.s3Endpoint)

  const metrics = new Metrics()
  collectDefaultMetrics({ register: metrics })
  const edgeMetrics = createEdgeMetrics(metrics)

  const work = createWork()
  const spares = opened.use(
    createSpares({
      host,
      places,
      createOverlay,
      emptyDrive: base.emptyDrive,
      max: config.spares.max,
      maxPerBase: config.spares.maxPerImage,
      maxBookedShare: 0.5,
      idleMs: config.spares.idleSeconds * 1000,
    }),
  )
  const settle = async () => {
    const left = await work.settled(GRACE_MS)
    if (left > 0) log.warn({ left }, "Closing while statecharts' work is not at its end; the next start looks after it")
  }
  opened.defer(settle)
  await sweepHost(host)
  opened.use(openOldRows({ db, hostId, remembered: config.history, log }))
  let dropConnections = (_id: string): void => {}
  const { microvms, imageVersions, router, layers, snapshots } = opened.use(
    await openMicrovmRooms(
      {
        config,
        db,
        host,
        places,
        base,
        secrets,
        artifacts,
        registry,
        logs,
        spares,
        createOverlay,
        work,
        metrics,
        onDisconnected: (id) => dropConnections(id),
        onOver: edgeMetrics.forget,
      },
      signal,
    ),
  )
  const tokenKeys = await openTokenKeys(createKeyStore(db, secrets))
  const tokens = createTokens(tokenKeys)
  /** Opened when the edge is, and closed after it. */
  const rooms = opened.use(new AsyncDisposableStack())
  const front = opened.use(new AsyncDisposableStack())
  const urlRouter = Promise.withResolvers<UrlRouter>()
  const edge = await openEdge({
    router,
    functionUrls: {
      router: toUrlRouter(urlRouter.promise, `lambda-url.${config.domain}`),
      signatures: createUrlSignatures(createVerifier(keys)),
    },
    tokens,
    ...certificates,
    ...config.edge,
    maxRequestsPerVm: config.maxRequestsPerVm,
    metrics: edgeMetrics,
    log,
  })
  front.defer(() => edge.close(GRACE_MS))
  dropConnections = edge.drop
  // VMs that run can be reached; what of this start the way to them needs no part of comes after it.
  front.defer(() => urlRouter.reject(new Error("The daemon is closing")))

  await dropStaleBases(host, places, base.systemDisk, signal)
  await sweepBases(host)
  await layers.trim()
  if (resumes) await restoreBuilds(host, imageVersions)
  const { openFunctionRooms } = await import("./functions.ts")
  const { functions, serving, urls } = rooms.use(
    await openFunctionRooms(
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
      },
      signal,
    ),
  )
  urlRouter.resolve(urls)

  const { openApi } = await import("./open-api.ts")
  const api = front.use(
    await openApi({
      config,
      db,
      host,
      places,
      secrets,
      keys,
      tokens,
      tokenKeys,
      store,
      logs,
      registry,
      microvms,
      imageVersions,
      layers,
      snapshots,
      functions,
      serving,
      metrics,
      edgePort: edge.port,
      async health() {
        const ok = await isDatabaseAnswering()
        return { ok, accelerator, database: ok ? "up" : "away" }
      },
    }),
  )
  log.info({ api: api.url, edgePort: edge.port, dataDirectory: data.path }, "Torpor serves")

  const held = opened.move()
  return {
    apiUrl: api.url,
    edgePort: edge.port,
    hostId,
    caFile: certificates.caFile,
    credentials: data.credentials,
    async suspendAll(suspendSignal) {
      await front.disposeAsync()
      // The next start tells that builds were interrupted; none has a VM until then.
      await imageVersions.close()
      const [sleeping] = await Promise.all([
        suspendAll(microvms, suspendSignal),
        // Nobody would give them events; others are begun when there are some.
        unlessAborted(serving.endAll("The host goes to sleep."), suspendSignal),
      ])
      for (const row of await liveVms(db, hostId)) if (row.kind === "build") await host.stop(row)
      return sleeping
    },
    async endAll() {
      // The actors first: they would take what ends here for a failure to tell of.
      await Promise.all([microvms.close(), imageVersions.close()])
      await serving[Symbol.asyncDispose]()
      await settle()
      for (const { id } of await liveVms(db, hostId)) await host.end(id)
    },
    close: () => held.disposeAsync(),
  }
}
