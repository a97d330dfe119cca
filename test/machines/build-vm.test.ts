import { randomUUID } from "node:crypto"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, test } from "vitest"
import { createBootSnapshots } from "../../machines/building/boot-snapshots.ts"
import { createBuildVm } from "../../machines/building/build-vm.ts"
import { beginIncarnation } from "../../machines/vm-row.ts"
import { registerHost } from "../../src/db/identity.ts"
import { vms } from "../../src/db/schema.ts"
import type { BootSpec, Vm } from "../../src/vmm/vmm.ts"
import { openGuestPort, type GuestPort } from "../agent/guest-port.ts"
import { openTestDatabase } from "../db/database.ts"

const { signal } = new AbortController()
const notAsked = () => Promise.reject(new Error("Nobody asks for this"))

/** Has booted, and does what it is told. */
const answer = async (thaw: GuestPort, agent: GuestPort) => {
  ;(await agent.host).write('{"event":"hello","protocol":1}\n')
  const host = await thaw.host
  for (let line = await thaw.lines.next(); line.done !== true; line = await thaw.lines.next())
    host.write(`${line.value.split(" ", 1)[0]} OK\n`)
}

test("A build's VM boots again for another of its lives when the guest that it was to be launched from has gone", async () => {
  await using opened = new AsyncDisposableStack()
  const { db, hostId } = opened.use(await openTestDatabase())
  await registerHost(db, hostId, "name")
  const root = await mkdtemp(join(tmpdir(), "torpor-build-vm-"))
  opened.defer(() => rm(root, { recursive: true }))
  const vmId = randomUUID()
  await db.insert(vms).values({ id: vmId, hostId, kind: "build", memoryMiB: 512, vcpus: 1 })
  const boots: BootSpec[] = []
  const killed: number[] = []

  const boot = async (spec: BootSpec): Promise<Vm> => {
    const pid = boots.push(spec)
    // As QEMU, which takes no memory file that is there.
    await writeFile(spec.memoryFile, "memory", { flag: "wx" })
    const [thaw, agent] = [opened.use(await openGuestPort()), opened.use(await openGuestPort())]
    void answer(thaw, agent)
    return {
      process: { id: vmId, pid, startTime: 1 },
      spec,
      ports: { thaw: thaw.path, agent: agent.path },
      exited: new Promise(() => {}),
      untilQuiet: () => Promise.resolve(),
      pause: () => Promise.resolve(),
      async saveBase({ directory }) {
        await mkdir(directory)
        await writeFile(join(directory, "ram"), "memory")
        return { memoryBytes: 6, stateBytes: 0 }
      },
      kill: () => Promise.resolve(void killed.push(pid)),
      continue: notAsked,
      status: notAsked,
      giveWay: notAsked,
      sealRootDisk: notAsked,
      mergeRootDisk: notAsked,
      swapDrive: notAsked,
      noteTouched: notAsked,
      saveDelta: notAsked,
      console: notAsked,
    }
  }
  const kept = join(root, "boots")
  const buildVm = await createBuildVm(
    {
      host: {
        db,
        directoryOf: (id) => join(root, "vms", id),
        begin: (id, slot) => beginIncarnation(db, id, slot.index),
        hold: notAsked,
        stop: () => Promise.resolve(),
        vmm: { boot, launch: () => Promise.reject(new Error("launched")) },
        slots: { take: () => Promise.resolve({ index: 0, namespace: "", tap: "", uid: 0, address: "" }) },
        ledger: { reserve: () => true },
      },
      artifacts: { kernel: "", initramfs: "", systemDisk: "" },
      snapshots: createBootSnapshots(
        kept,
        "/cache/system-1/disk.raw",
        { isCurrent: async ({ directory }) => existsSync(join(directory, "ram")) },
        Infinity,
      ),
      createOverlay: (path) => writeFile(path, "", { flag: "wx" }),
      becomesBase: false,
    },
    vmId,
    512,
  )
  const begin = () => buildVm.begin({ rootDisk: [], drives: [] }, signal)
  await expect(begin()).rejects.toThrow("launched")
  await expect(begin()).rejects.toThrow("launched")
  expect(boots).toHaveLength(1)
  await rm(kept, { recursive: true })
  await expect(begin()).rejects.toThrow("launched")
  expect(boots).toHaveLength(2)
  expect(killed).toEqual([1, 2])
  const disks = boots.map(({ rootDisk }) => rootDisk[0]?.path)
  expect(new Set(disks).size).toBe(2)
})
