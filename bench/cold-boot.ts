/** The other peer: the daemon's own image, its kernel booted and its application started from nothing. */
import { randomBytes, randomUUID } from "node:crypto"
import { mkdir, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { desc } from "drizzle-orm"
import { ensureArtifacts } from "../images/artifacts.ts"
import { fromPlace, toDriveFile } from "../machines/disks.ts"
import { MAIN_PROCESS, openGuest } from "../machines/vms/guest.ts"
import { createAgentClient } from "../src/agent/client.ts"
import { parseConfig } from "../src/config.ts"
import { openDatabase } from "../src/db/open.ts"
import { bases, imageVersions } from "../src/db/schema.ts"
import { createLog } from "../src/log.ts"
import { GUEST, type Slot } from "../src/net/slot.ts"
import { openSlots } from "../src/net/slots.ts"
import { prepareOverlays } from "../src/vmm/overlay.ts"
import type { TestDaemon } from "../test/fixtures/daemon.ts"
import { endWhenGone } from "../test/fixtures/when-gone.ts"
import { createVmm } from "../test/vmm/qemu-under-test.ts"
import { untilAnswer } from "./http.ts"

export interface ColdBoots extends AsyncDisposable {
  /** From the start of the process to the application's first answer, then its end; in ms. Rejects when the guest hangs. */
  boot(): Promise<number>
}

const HUNG_MS = 120_000
const MEMORY_MIB = 512

/** Boots the image that a daemon has built last, beside the daemon, under a host id of its own. The caller disposes it. */
export const openColdBoots = async (daemon: TestDaemon, slotsReady: number): Promise<ColdBoots> => {
  await using opened = new AsyncDisposableStack()
  const { signal } = new AbortController()
  const { cacheDirectory, debian, slots: slotSettings, egress } = parseConfig(process.env)
  const directory = await mkdtemp(join(tmpdir(), "torpor-bench-boots-"))
  const hostId = randomUUID()
  opened.defer(endWhenGone(hostId, directory))
  opened.defer(() => rm(directory, { recursive: true, force: true }))
  const artifacts = await ensureArtifacts({ cacheDirectory, debian }, () => {}, signal)
  const places = { cacheDirectory, dataDirectory: daemon.directory }
  const { rootDisk, settings } = await imageOf(daemon, signal)
  const log = createLog("error")
  const slots = await openSlots(
    { hostId, ...slotSettings, ready: slotsReady, policy: { ...egress, allow: [] }, nameServers: [], log },
    signal,
  )
  opened.defer(() => slots.close())
  const vmm = await createVmm({ hostId, directory, artifacts }, signal)
  opened.defer(() => vmm.close())
  const createOverlay = await prepareOverlays(directory, signal)
  // An interrupted boot gives its slot back.
  const booting = new Set<Promise<unknown>>()
  opened.defer(() => Promise.allSettled(booting).then(() => {}))
  const closing = new AbortController()
  opened.defer(() => closing.abort(new Error("The bench was interrupted")))
  const held = opened.move()

  const bootOnce = async () => {
    const slot = await slots.take(closing.signal)
    try {
      return await bootIn(slot)
    } finally {
      await slots.release(slot)
    }
  }
  const bootIn = async (slot: Slot) => {
    const vmId = randomUUID()
    const own = join(directory, vmId)
    await mkdir(own)
    const overlay = join(own, "overlay.qcow2")
    await createOverlay(overlay)
    const hung = AbortSignal.timeout(HUNG_MS)
    const over = AbortSignal.any([hung, closing.signal])
    const startedAt = performance.now()
    const vm = await vmm.boot(
      {
        vmId,
        slot,
        directory: own,
        memoryMiB: MEMORY_MIB,
        vcpus: 1,
        kernel: artifacts.kernel,
        initramfs: artifacts.initramfs,
        systemDisk: artifacts.systemDisk,
        rootDisk: [...rootDisk.map((place) => fromPlace(places, place)), overlay].map(toDriveFile),
        extraDrives: [],
        memoryFile: join(own, "ram"),
      },
      over,
    )
    try {
      const guest = await openGuest(vm.ports, over)
      const late = new Promise<never>((_, reject) =>
        over.addEventListener("abort", () =>
          reject(hung.aborted ? new Error(`A cold boot hung: no answer in ${HUNG_MS / 1000} s`) : over.reason),
        ),
      )
      // Where nobody races it, what is asked then rejects by itself.
      late.catch(() => {})
      await Promise.race([guest.ready, late])
      const secret = randomBytes(32)
      await guest.thaw({ hostname: "bench", machineId: vmId.replaceAll("-", ""), incarnation: 1, secret }, over)
      const agent = createAgentClient(slot.address, GUEST.agentPort, secret)
      await agent.mountDisk(over)
      await agent.startProcess(
        MAIN_PROCESS,
        {
          argv: settings.argv,
          env: settings.environment,
          cwd: settings.workingDirectory,
          user: settings.user,
          capabilities: "default",
          memoryMaxMiB: null,
          container: "app",
        },
        over,
      )
      await Promise.race([untilAnswer(slot.address, settings.exposedPorts[0] ?? 8080, over), late])
      const tookMs = performance.now() - startedAt
      agent.close()
      guest.close()
      return tookMs
    } finally {
      await vm.kill()
      await rm(own, { recursive: true })
    }
  }

  return {
    async boot() {
      const booted = bootOnce()
      booting.add(booted)
      return booted.finally(() => booting.delete(booted))
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

/** Disk and settings of the newest version that the daemon knows. */
const imageOf = async (daemon: TestDaemon, signal: AbortSignal) => {
  await using database = await openDatabase({ dataDirectory: daemon.directory, hostId: daemon.hostId }, signal)
  const [row] = await database.db.select().from(bases).orderBy(desc(bases.createdAt)).limit(1)
  const [version] = await database.db.select().from(imageVersions).orderBy(desc(imageVersions.createdAt)).limit(1)
  if (row === undefined || version?.runSettings == null) throw new Error("The daemon has built no image")
  return { rootDisk: row.rootDisk, settings: version.runSettings }
}
