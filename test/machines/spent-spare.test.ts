/** A process that stood ready and ends as it is taken: with a real database and real files, and no process at all. */
import { randomUUID } from "node:crypto"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { pino } from "pino"
import { expect, onTestFinished, test } from "vitest"
import { createLoad } from "../../machines/vms/loading.ts"
import { createVmHost, makeVmDirectory } from "../../machines/vm.ts"
import { findVm } from "../../machines/vm-row.ts"
import { createLedger } from "../../src/capacity/ledger.ts"
import { registerHost } from "../../src/db/identity.ts"
import { vms, type bases } from "../../src/db/schema.ts"
import { createLogs } from "../../src/logs/logs.ts"
import type { Slot } from "../../src/net/slot.ts"
import type { Slots } from "../../src/net/slots.ts"
import type { LaunchSpec, Spare, Vm, Vmm } from "../../src/vmm/vmm.ts"
import { openGuestPort } from "../agent/guest-port.ts"
import { openTestDatabase } from "../db/database.ts"

const MiB = 2 ** 20
const signal = AbortSignal.timeout(600_000)

test.for(["launched", "woken"])(
  "A VM that is %s goes on in a fresh process where the one that stood ready has ended",
  async (how) => {
    await using database = await openTestDatabase()
    await using thaw = await openGuestPort()
    await using agent = await openGuestPort()
    const { db, hostId } = database
    await registerHost(db, hostId, "here")
    const dataDirectory = await mkdtemp(join(tmpdir(), "torpor-spare-"))
    onTestFinished(() => rm(dataDirectory, { recursive: true, force: true }))
    const log = pino({ level: "silent" })
    const given = new Set<number>()
    const launched: LaunchSpec[] = []
    const limits = { bytesPerLog: MiB, bytesPerGroup: MiB, bytesPerHost: MiB, days: 1 }
    const host = createVmHost({
      db,
      hostId,
      dataDirectory,
      vmm: {
        destroy: () => Promise.reject(new Error("a control group is in use")),
        async launch(spec: LaunchSpec): Promise<Vm> {
          launched.push(spec)
          if (spec.spare !== undefined) throw new Error("QEMU is gone")
          return {
            spec,
            process: { id: spec.vmId, pid: 1, startTime: 1 },
            ports: { thaw: thaw.path, agent: agent.path },
            exited: new Promise(() => {}),
            kill: () => Promise.resolve(),
          } as unknown as Vm
        },
      } as unknown as Vmm,
      slots: {
        take: () => Promise.resolve({ index: 2 } as Slot),
        adopt: () => Promise.resolve(undefined),
        retire: ({ index }: Slot) => given.add(index),
      } as unknown as Slots,
      ledger: createLedger(1000),
      logs: createLogs({ db, hostId, limits, log }),
      log,
      secretOf: () => Buffer.alloc(32),
    })
    const put = async (path: string, text: string) => {
      await mkdir(dirname(path), { recursive: true })
      await writeFile(path, text)
      return path
    }

    const spareId = randomUUID()
    const directory = host.directoryOf(spareId)
    const overlay = await put(join(directory, "disk/spare.qcow2"), "the spare's")
    const spare = {
      process: { id: spareId, pid: 2, startTime: 2 },
      spec: { slot: { index: 1 }, directory, overlay: { path: overlay }, extraDrives: [] },
    }
    await put(join(dataDirectory, "system.ext4"), "")
    const base = {
      id: randomUUID(),
      systemDisk: "data:system.ext4",
      rootDisk: [],
    } as unknown as typeof bases.$inferSelect
    const vmId = randomUUID()
    await db.insert(vms).values({ id: vmId, hostId, kind: "microvm", memoryMiB: 128, vcpus: 1 })
    await host.logs.create(db, vmId, { account: "0", region: "r", group: "/aws/lambda/f", stream: vmId })
    const own = await makeVmDirectory(host, vmId)
    const delta =
      how === "woken"
        ? { file: await put(join(own, "delta-1"), ""), state: await put(join(own, "state-1"), ""), incarnation: 1 }
        : undefined
    const disk = join(own, "disk/0.qcow2")
    if (delta !== undefined) await put(disk, "the VM's")
    expect(host.ledger.reserve(vmId, 128)).toBe(true)

    const load = createLoad({
      host,
      places: { cacheDirectory: dataDirectory, dataDirectory },
      createOverlay: (path) => writeFile(path, "empty"),
      spares: {
        take: () => spare as unknown as Spare,
        fillBehind: () => {},
        [Symbol.asyncDispose]: () => Promise.resolve(),
      },
    })
    const loaded = await load(await findVm(db, vmId), base, { overlay: disk, delta }, signal)
    expect(launched.map(({ spare: taken, slot, directory: where }) => [taken, slot.index, where])).toEqual([
      [spare, 1, directory],
      [undefined, 2, own],
    ])
    expect(await readFile(disk, "utf8")).toBe(delta === undefined ? "empty" : "the VM's")
    expect(loaded.row).toMatchObject({ slot: 2, processId: null })
    expect(given).toEqual(new Set([1]))
    expect(existsSync(directory)).toBe(false)
    expect(host.ledger.reservedMiB).toBeGreaterThan(128)
    await loaded.abandon()
    expect(given).toEqual(new Set([1, 2]))
    expect(host.ledger.reservedMiB).toBe(0)
  },
)
