/** Puts the rooms together: a data directory, its database, this host's VMs, and the two servers in front of them. */
import { unlessAborted } from "./abort.ts"
import { Registry as Metrics, collectDefaultMetrics } from "prom-client"
import { sweepHost } from "../machines/recovery.ts"
import { suspendAll } from "../machines/microvms/suspend-all.ts"
import { createWork } from "../machines/work.ts"
import { createSpares } from "../machines/vms/spares.ts"
import { createVmHost } from "../machines/vm.ts"
import { liveVms } from "../machines/vm-row.ts"
import { awaitUrls } from "../proxy/function-url/await-urls.ts"
import type { FunctionUrls } from "../proxy/function-url/serve.ts"
import { createEdgeMetrics } from "../proxy/metrics.ts"
import { openEdge } from "../proxy/server.ts"
import type { Config } from "./config.ts"
import { createAnswering } from "./db/answering.ts"
import { createKeyStore } from "./db/identity.ts"
import { openGround } from "./ground.ts"
import type { Log } from "./log.ts"
import { createLogs } from "./logs/logs.ts"
import { openMicrovmRooms } from "./microvms.ts"
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
  const ground = opened.use(await openGround(config, log, progress, signal))
  const { data, secrets, base, db, keys, certificates, vms } = ground
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
      metrics,
    }),
  )
  const settle = async () => {
    const left = await work.settled(GRACE_MS)
    if (left > 0) log.warn({ left }, "Closing while statecharts' work is not at its end; the next start looks after it")
  }
  opened.defer(settle)
  await sweepHost(host)
  let dropConnections = (_id: string): void => {}
  const { microvms, router } = opened.use(
    await openMicrovmRooms(
      {
        config,
        db,
        host,
        places,
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
  const behind = opened.use(new AsyncDisposableStack())
  const front = opened.use(new AsyncDisposableStack())
  const urls = Promise.withResolvers<FunctionUrls>()
  const edge = await openEdge({
    router,
    functionUrls: awaitUrls(urls.promise, `lambda-url.${config.domain}`),
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
  front.defer(() => urls.reject(new Error("The daemon is closing")))

  // While nft writes, who has waited for the edge is served: to load the rest takes the processor at one go.
  await slots.rule()
  const { openRooms } = await import("./rooms.ts")
  const rooms = behind.use(await openRooms({ config, ground, host, places, spares, work, metrics, resumes }, signal))
  urls.resolve(rooms.functionUrls)

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
      logs,
      microvms,
      ...rooms,
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
      await rooms.imageVersions.close()
      const [sleeping] = await Promise.all([
        suspendAll(microvms, suspendSignal),
        // Nobody would give them events; others are begun when there are some.
        unlessAborted(rooms.serving.endAll("The host goes to sleep."), suspendSignal),
      ])
      for (const row of await liveVms(db, hostId)) if (row.kind === "build") await host.stop(row)
      return sleeping
    },
    async endAll() {
      // The actors first: they would take what ends here for a failure to tell of.
      await Promise.all([microvms.close(), rooms.imageVersions.close()])
      await rooms.serving[Symbol.asyncDispose]()
      await settle()
      for (const { id } of await liveVms(db, hostId)) await host.end(id)
    },
    close: () => held.disposeAsync(),
  }
}
