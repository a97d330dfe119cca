/** Which kinds of processes stand ready for VMs of a base: with a real ledger and real files, and no process at all. */
import { randomUUID } from "node:crypto"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setImmediate as turn } from "node:timers/promises"
import { pino } from "pino"
import { Registry } from "prom-client"
import { expect, onTestFinished, test } from "vitest"
import { toDriveFile } from "../../machines/disks.ts"
import type { Base, Rehearsal } from "../../machines/vms/spare-making.ts"
import type { Purpose } from "../../machines/vms/spare-choice.ts"
import { createSpares } from "../../machines/vms/spares.ts"
import type { VmHost } from "../../machines/vm.ts"
import { unlessAborted } from "../../src/abort.ts"
import { createLedger } from "../../src/capacity/ledger.ts"
import type { Slot } from "../../src/net/slot.ts"
import type { Drive, Spare, SpareSpec, Vm } from "../../src/vmm/vmm.ts"

const OWN_MIB = 50

/** Of a host with room for anything; what stands ready is told by its kind, in the order in which it was made. */
const open = async ({ max = 4, maxPerBase = 2, started = Promise.resolve() } = {}) => {
  const dataDirectory = await mkdtemp(join(tmpdir(), "torpor-spares-"))
  const ledger = createLedger(10_000)
  const made: string[] = []
  const prepared: SpareSpec[] = []
  const loaded = new Set<string>()
  const living = new Set<string>()
  const host = {
    ledger,
    log: pino({ level: "silent" }),
    directoryOf: (id: string) => join(dataDirectory, id),
    removeDirectoryOf: (id: string) => rm(join(dataDirectory, id), { recursive: true }),
    slots: { take: () => Promise.resolve({ index: 1 } as Slot), release: () => Promise.resolve() },
    vmm: {
      async prepare(spec: SpareSpec): Promise<Spare> {
        prepared.push(spec)
        living.add(spec.id)
        made.push("started")
        await started
        const ended = Promise.withResolvers<void>()
        return {
          process: { id: spec.id, pid: 1, startTime: 1 },
          spec,
          get isLoaded() {
            return loaded.has(spec.id)
          },
          exited: ended.promise,
          async kill() {
            living.delete(spec.id)
            ended.resolve()
          },
        }
      },
      async rehearse({ spec }: Spare) {
        loaded.add(spec.id)
        made[made.length - 1] = "rehearsed"
        return OWN_MIB
      },
    },
  } as unknown as VmHost
  const emptyDrive = join(dataDirectory, "empty.raw")
  const metrics = new Registry()
  const spares = createSpares({
    host,
    places: { cacheDirectory: dataDirectory, dataDirectory },
    createOverlay: (path) => writeFile(path, ""),
    emptyDrive,
    max,
    maxPerBase,
    maxBookedShare: 1,
    idleMs: 3_600_000,
    metrics,
  })
  onTestFinished(async () => {
    await spares[Symbol.asyncDispose]()
    expect([living.size, ledger.reservedMiB]).toEqual([0, 0])
    await rm(dataDirectory, { recursive: true })
  })
  await writeFile(join(dataDirectory, "system"), "")
  const base = (): Base =>
    ({ id: randomUUID(), memoryMiB: 100, vcpus: 1, systemDisk: "data:system", rootDisk: [] }) as unknown as Base
  /** After a VM of a base has done something; its own directory is `vm`. */
  const fill = (of: Base, purpose: Purpose, drives: Drive[] = [], rehearsal?: Rehearsal) => {
    const vm = { spec: { directory: join(dataDirectory, "vm") }, untilQuiet: () => Promise.resolve() } as unknown as Vm
    spares.fillBehind({ vm }, of, drives, { purpose, ...(rehearsal && { rehearsal }) })
  }
  const kindOf = (spare: Spare | undefined) => spare && (spare.isLoaded ? "rehearsed" : "started")
  /** What a VM of the base takes, which is not given back. */
  const take = async (of: Base, purpose: Purpose) => {
    const spare = spares.take(of.id, purpose)
    const kind = kindOf(spare)
    await spare?.kill()
    return kind
  }
  return { spares, metrics, ledger, living, made, prepared, base, fill, take, emptyDrive, directory: dataDirectory }
}

test.for([
  ["launch", ["rehearsed", "started"]],
  ["wake", ["started", "rehearsed"]],
] as const)(
  "After a %s one for another stands ready first, and then one of the other kind",
  async ([purpose, kinds]) => {
    const { fill, made, base, take } = await open()
    const of = base()
    fill(of, purpose)
    await expect.poll(() => made).toEqual(kinds)
    // What has loaded its base already is of no use for who has a memory of its own.
    expect([await take(of, "wake"), await take(of, "wake")]).toEqual(["started", undefined])
    expect([await take(of, "launch"), await take(of, "launch")]).toEqual(["rehearsed", undefined])
  },
)

test("What is only expected takes the place of none", async () => {
  const { spares, fill, made, base, take } = await open({ max: 1 })
  const [used, expected] = [base(), base()]
  fill(used, "launch")
  await expect.poll(() => made).toEqual(["rehearsed"])
  const vm = { untilQuiet: () => Promise.resolve(), spec: { directory: "/nowhere" } } as unknown as Vm
  spares.fillBehind({ vm }, expected, [], { purpose: "launch", isExpected: true })
  // Behind it.
  spares.fillBehind({ vm }, expected, [], { purpose: "launch", rehearsal: () => Promise.resolve(), isExpected: true })
  await spares[Symbol.asyncDispose]()
  expect(made).toEqual(["rehearsed"])
  expect(await take(expected, "launch")).toBeUndefined()
})

test("Who is launched takes one that has only started where none has rehearsed", async () => {
  const { fill, made, base, take } = await open({ maxPerBase: 1 })
  const of = base()
  fill(of, "wake")
  await expect.poll(() => made).toEqual(["started"])
  expect(await take(of, "launch")).toBe("started")
})

test("One that is of less use goes for one that is wanted, and the longest unused for another base's", async () => {
  const { fill, made, base, take } = await open({ max: 2, maxPerBase: 1 })
  const [first, second, third] = [base(), base(), base()]
  fill(first, "launch")
  await expect.poll(() => made.length).toBe(1)
  fill(first, "wake")
  await expect.poll(() => made).toEqual(["rehearsed", "started"])
  fill(second, "launch")
  await expect.poll(() => made.length).toBe(3)
  fill(third, "launch")
  await expect.poll(() => made.length).toBe(4)
  expect([await take(first, "launch"), await take(first, "wake")]).toEqual([undefined, undefined])
  expect([await take(second, "launch"), await take(third, "launch")]).toEqual(["rehearsed", "rehearsed"])
})

test("A second one of a base goes for another base's first, and takes the place of none that stands alone", async () => {
  const { fill, made, base, take } = await open({ max: 3 })
  const bases = [base(), base(), base()]
  const kinds = ["rehearsed", "started"]
  for (const [at, of] of bases.entries()) {
    fill(of, "launch")
    await expect.poll(() => made).toEqual([...kinds, ...kinds, "rehearsed"].slice(0, 2 * (at + 1)))
  }
  // The last one's second would be made behind its first.
  fill(bases[0]!, "wake")
  await expect.poll(() => made.at(-1)).toBe("started")
  expect(made).toHaveLength(6)
  expect([await take(bases[0]!, "wake"), await take(bases[0]!, "launch")]).toEqual(["started", undefined])
  for (const of of bases.slice(1))
    expect([await take(of, "launch"), await take(of, "launch")]).toEqual(["rehearsed", undefined])
})

test("Where VMs have further drives one rehearses when it is told how, and stays when others are made by who cannot tell", async () => {
  const { fill, made, base, take, metrics } = await open()
  const of = base()
  const drives: Drive[] = [{ chain: [toDriveFile("/shared.raw")], readOnly: true }]
  fill(of, "launch", drives)
  // Asked for meanwhile, it has its turn.
  fill(of, "launch", drives, () => Promise.resolve())
  await expect.poll(() => made).toEqual(["started", "started", "rehearsed"])
  for (const kind of ["rehearsed", "started"])
    await expect.poll(() => metrics.metrics()).toContain(`torpor_spare_processes{kind="${kind}"} 1\n`)
  expect(await take(of, "wake")).toBe("started")
  fill(of, "launch", drives)
  await expect.poll(() => made).toEqual(["started", "started", "rehearsed", "started"])
  await expect.poll(() => metrics.metrics()).toContain('torpor_spare_processes{kind="started"} 1\n')
  expect([await take(of, "launch"), await take(of, "launch")]).toEqual(["rehearsed", "started"])
})

test("Where VMs have further drives none is loaded unasked, and it has what all of them have, and nothing of another's own", async () => {
  const { fill, made, prepared, base, emptyDrive, directory } = await open()
  const own = (name: string) => toDriveFile(join(directory, "vm/disk", name))
  const shared = toDriveFile(join(directory, "shared.raw"))
  fill(base(), "launch", [
    { chain: [shared], readOnly: true },
    { chain: [own("code.raw")], readOnly: true },
    { chain: [own("temporary.raw"), own("temporary.qcow2")], readOnly: false },
  ])
  await expect.poll(() => made).toEqual(["started", "started"])
  for (const { extraDrives, directory: its } of prepared)
    expect(extraDrives).toEqual([
      { chain: [shared], readOnly: true },
      { chain: [toDriveFile(emptyDrive)], readOnly: true },
      { chain: [toDriveFile(emptyDrive), toDriveFile(join(its, "disk/spare-2.qcow2"))], readOnly: false },
    ])
})

test("What one has come to is anybody's memory who needs it", async () => {
  const { fill, made, base, ledger, take } = await open({ maxPerBase: 1 })
  const of = base()
  fill(of, "launch")
  await expect.poll(() => made).toEqual(["rehearsed"])
  await expect.poll(() => ledger.reservedMiB).toBe(0)
  expect(ledger.reserve("a VM", ledger.capacityMiB - 200)).toBe(true)
  expect(await take(of, "launch")).toBeUndefined()
  ledger.release("a VM")
})

test("One that is being made when all end is ended with them, whoever waits behind it", async () => {
  const started = Promise.withResolvers<void>()
  const { spares, fill, made, base, living, directory } = await open({ started: started.promise })
  const of = base()
  fill(of, "wake")
  await expect.poll(() => made).toEqual(["started"])
  const untilQuiet = (signal: AbortSignal) => unlessAborted(new Promise<void>(() => {}), signal)
  const busy = { spec: { directory }, untilQuiet } as unknown as Vm
  spares.fillBehind({ vm: busy }, of, [], { purpose: "launch", rehearsal: () => Promise.resolve() })
  const ended = spares[Symbol.asyncDispose]()
  await turn()
  started.resolve()
  await ended
  await turn()
  expect([living.size, made]).toEqual([0, ["started"]])
})
