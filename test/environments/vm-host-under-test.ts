/** This machine as the daemon has it, below the statecharts: a database, slots, a VMM, and the VMs of a host id of its own. */
import { randomBytes } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { PostgresJsDatabase } from "drizzle-orm/postgres-js"
import { pino } from "pino"
import { ensureArtifacts, type Artifacts } from "../../images/artifacts.ts"
import { createBootSnapshots, type BootSnapshots } from "../../machines/building/boot-snapshots.ts"
import type { Places } from "../../machines/disks.ts"
import { createVmHost, type VmHost } from "../../machines/vm.ts"
import { createLedger } from "../../src/capacity/ledger.ts"
import { parseConfig } from "../../src/config.ts"
import { registerHost } from "../../src/db/identity.ts"
import { openDatabase } from "../../src/db/open.ts"
import { createLogs } from "../../src/logs/logs.ts"
import { openSlots } from "../../src/net/slots.ts"
import { prepareOverlays } from "../../src/vmm/overlay.ts"
import { makeTestCluster } from "../db/cluster.ts"
import { putEmptyCluster } from "../db/empty-cluster.ts"
import { whatIsLeft } from "../fixtures/daemon.ts"
import { whenGone } from "../fixtures/when-gone.ts"
import { createVmm } from "../vmm/qemu-under-test.ts"

/** What a daemon and the next one have in common. */
export interface HostPlace {
  readonly hostId: string
  readonly directory: string
  /** Of its Postgres. */
  readonly cluster: string
  /** 32 bytes in hex: every VM's secret. */
  readonly key: string
}

export interface VmHostUnderTest extends AsyncDisposable {
  readonly place: HostPlace
  readonly host: VmHost & { readonly db: PostgresJsDatabase }
  readonly artifacts: Artifacts
  readonly places: Places
  readonly snapshots: BootSnapshots
  readonly createOverlay: (path: string) => Promise<void>
}

const { signal } = new AbortController()

/** Opens one; disposing it ends its VMs, and fails when anything of it is left. */
export const openVmHostUnderTest = async (): Promise<VmHostUnderTest> => {
  await using opened = new AsyncDisposableStack()
  const { dataDirectory: cluster, hostId } = opened.use(await makeTestCluster())
  await putEmptyCluster(cluster)
  const directory = await mkdtemp(join(tmpdir(), "torpor-host-"))
  // Its VMs are of the cluster's host id, and end with that.
  opened.defer(whenGone(["rm", "-rf", directory]))
  opened.defer(async () => {
    await rm(directory, { recursive: true, force: true })
    // The database's are its own to look after.
    const left = whatIsLeft(hostId).filter((name) => !name.startsWith("/run/torpor/postgres"))
    if (left.length > 0) throw new Error(`The host left behind: ${left.join(", ")}`)
  })
  const host = opened.use(
    await openVmHostAt({ hostId, directory, cluster, key: randomBytes(32).toString("hex") }, true),
  )
  const held = opened.move()
  return { ...host, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

/** Opens what there is at a place; with `endsVms`, disposing it ends its VMs. */
export const openVmHostAt = async (place: HostPlace, endsVms = false): Promise<VmHostUnderTest> => {
  await using opened = new AsyncDisposableStack()
  const { hostId, directory } = place
  const { db } = opened.use(await openDatabase({ dataDirectory: place.cluster, hostId }, signal))
  await registerHost(db, hostId, "test")
  const config = parseConfig({ TORPOR_CACHE_DIR: process.env["TORPOR_CACHE_DIR"] })
  const artifacts = await ensureArtifacts(config, () => {}, signal)
  const log = pino({ level: process.env["TORPOR_TEST_LOG"] === undefined ? "silent" : "info" }, pino.destination(2))
  const policy = { ...config.egress, allow: [] }
  const slots = await openSlots({ hostId, ...config.slots, ready: 1, policy, nameServers: [], log }, signal)
  opened.defer(() => slots.close())
  const vmm = await createVmm({ hostId, directory, artifacts }, signal)
  opened.defer(() => vmm.close())
  const limits = { bytesPerLog: 1024 ** 2, bytesPerGroup: 1024 ** 2, bytesPerHost: 1024 ** 2, days: 1 }
  const logs = opened.use(createLogs({ db, hostId, limits, log }))
  const secret = Buffer.from(place.key, "hex")
  const ledger = createLedger(16 * 1024)
  const host = createVmHost({
    db,
    hostId,
    dataDirectory: directory,
    vmm,
    slots,
    ledger,
    logs,
    log,
    secretOf: () => secret,
  })
  if (endsVms)
    opened.defer(async () => {
      for (const process of await vmm.find()) await vmm.destroy(process)
    })
  const createOverlay = await prepareOverlays(directory, signal)
  const held = opened.move()
  return {
    place,
    host: { ...host, db },
    artifacts,
    places: { cacheDirectory: config.cacheDirectory, dataDirectory: directory },
    snapshots: createBootSnapshots(join(config.cacheDirectory, "boots"), artifacts.systemDisk, vmm, Infinity),
    createOverlay,
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}
