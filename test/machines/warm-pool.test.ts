/** Which VMs stand loaded for runtimes, and for how long: with a real ledger, and without a VM. */
import { pino } from "pino"
import { expect, onTestFinished, test } from "vitest"
import { createWarmPool } from "../../machines/environments/warm-pool.ts"
import type { Need, TrainedGround, WarmVm } from "../../machines/environments/warm-vm.ts"
import { unlessAborted } from "../../src/abort.ts"
import { createLedger, VMM_OVERHEAD_MIB } from "../../src/capacity/ledger.ts"
import type { Slot } from "../../src/net/slot.ts"

const MEMORY_MIB = 100

const groundOf = (baseId: string): TrainedGround => ({
  runtime: "nodejs24.x",
  base: { baseId, memoryMiB: MEMORY_MIB, runtimeDrive: null },
  temporary: "/temporary",
})

/** Of a host with memory for `room` VMs, of which half may be booked when another is made. */
const open = ({ room = 10, maxVms = 2 } = {}) => {
  const ledger = createLedger(room * (MEMORY_MIB + VMM_OVERHEAD_MIB))
  const made: string[] = []
  const ended: string[] = []
  /** Of these bases none comes to stand. */
  const held = new Set<string>()
  const offered = new Map<number, () => Promise<void>>()
  const host = {
    ledger,
    slots: {
      offer({ index }: Slot, giveUp: () => Promise<void>) {
        offered.set(index, giveUp)
        return () => offered.delete(index)
      },
    } as unknown as Parameters<typeof createWarmPool>[0]["host"]["slots"],
    log: pino({ level: "silent" }),
    async end(vmId: string) {
      ended.push(vmId)
      ledger.release(vmId)
    },
  }
  const pool = createWarmPool({
    host,
    async make({ base: { baseId } }, need, signal): Promise<WarmVm> {
      if (held.has(baseId)) await unlessAborted(new Promise(() => {}), signal)
      const vmId = `${baseId} for ${need}`
      expect(ledger.reserve(vmId, MEMORY_MIB)).toBe(true)
      made.push(vmId)
      const vm = { spec: { vmId }, process: { pid: 1 }, exited: new Promise(() => {}) } as unknown as WarmVm["vm"]
      return { vm, slot: { index: made.length } as Slot } as WarmVm
    },
    maxVms,
    maxBookedShare: 0.5,
    idleMs: 3_600_000,
  })
  onTestFinished(() => pool[Symbol.asyncDispose]())
  const fill = (baseId: string, need: Need) => pool.fill(groundOf(baseId), need)
  const take = (baseId: string) => pool.take(groundOf(baseId))?.vm.spec.vmId
  return { pool, ledger, offered, held, made, ended, fill, take }
}

test("What is needed more takes the place of what is needed less, the longest there first, and nothing else does", async () => {
  const { fill, take, made, ended } = open()
  for (const base of ["a", "b", "c"]) await fill(base, "start")
  await fill("d", "deployment")
  await fill("e", "deployment")
  await fill("f", "deployment")
  await fill("a", "start")
  expect(ended).toEqual(["a for start", "b for start"])
  await fill("f", "use")
  await fill("g", "use")
  await fill("h", "use")
  expect(ended.slice(2)).toEqual(["d for deployment", "e for deployment"])
  expect([take("f"), take("f"), take("g"), take("h")]).toEqual(["f for use", undefined, "g for use", undefined])
  expect(made).toHaveLength(6)
})

test("One that is being made is given up for what is needed more, unless it is needed as much by then", async () => {
  const { pool, held, fill, take, made } = open({ maxVms: 1 })
  held.add("a").add("b")
  const first = fill("a", "start")
  await fill("c", "start")
  await fill("c", "deployment")
  await first
  expect(take("c")).toBe("c for deployment")
  const second = fill("b", "start")
  void fill("b", "use")
  await fill("c", "deployment")
  expect([made, pool.count]).toEqual([["c for deployment"], 0])
  await pool[Symbol.asyncDispose]()
  await second
})

test("One that stands already is needed as much as anybody says", async () => {
  const { fill, take, made, ended } = open()
  await fill("a", "start")
  await fill("b", "start")
  await fill("a", "use")
  await fill("c", "deployment")
  expect([made.length, ended]).toEqual([3, ["b for start"]])
  expect(take("a")).toBe("a for start")
})

test("Its memory and its slot are anybody's until it is taken", async () => {
  const { pool, fill, take, ledger, offered, ended } = open({ room: 2 })
  await fill("a", "start")
  expect(ledger.reservedMiB).toBe(0)
  for (const vmId of ["one", "other"]) expect(ledger.reserve(vmId, MEMORY_MIB)).toBe(true)
  expect([ended, take("a"), pool.count]).toEqual([["a for start"], undefined, 0])
  // Half of the memory is taken.
  await fill("a", "use")
  expect(pool.count).toBe(0)
  for (const vmId of ["one", "other"]) ledger.release(vmId)
  await fill("b", "start")
  await [...offered.values()].at(-1)?.()
  expect(ended).toEqual(["a for start", "b for start"])
  await fill("c", "start")
  expect(take("c")).toBe("c for start")
  expect([ledger.reservedMiB, offered.size]).toEqual([MEMORY_MIB + VMM_OVERHEAD_MIB, 0])
})
