/** Which VMs stand where snapshots begin, and for how long: with a real ledger, and without a VM. */
import { randomUUID } from "node:crypto"
import { pino } from "pino"
import { expect, onTestFinished, test } from "vitest"
import { createStandingVms, type StandingVm } from "../../machines/environments/snapshots/standing-vms.ts"
import type { VersionSnapshot } from "../../machines/environments/snapshots/version-snapshots.ts"
import { createLedger, VMM_OVERHEAD_MIB } from "../../src/capacity/ledger.ts"
import type { Slot } from "../../src/net/slot.ts"
import type { VmExit } from "../../src/vmm/vmm.ts"

const MEMORY_MIB = 100
const snapshotOf = (id: string) => ({ id }) as VersionSnapshot

/** Of a host with memory for `room` VMs. */
const open = (room: number, maxVms = 2) => {
  const ledger = createLedger(room * (MEMORY_MIB + VMM_OVERHEAD_MIB))
  const ended: string[] = []
  const offers = new Map<number, () => Promise<void>>()
  const exits = new Map<string, () => void>()
  let made = 0
  /** One of a name, whose memory is booked. */
  const make = (vmId: string): StandingVm => {
    expect(ledger.reserve(vmId, MEMORY_MIB)).toBe(true)
    const { promise: exited, resolve } = Promise.withResolvers<VmExit>()
    exits.set(vmId, () => resolve({ byGuest: false, reason: "killed" }))
    const vm = { spec: { vmId }, process: { pid: 1 }, exited } as StandingVm["vm"]
    return { vm, slot: { index: ++made } as Slot, incarnation: 2 }
  }
  const standing = createStandingVms({
    host: {
      async end(vmId) {
        ended.push(vmId)
        ledger.release(vmId)
      },
      ledger,
      slots: {
        offer({ index }: Slot, giveUp: () => Promise<void>) {
          offers.set(index, giveUp)
          return () => offers.delete(index)
        },
      } as unknown as Parameters<typeof createStandingVms>[0]["host"]["slots"],
      log: pino({ level: "silent" }),
    },
    prepare: async ({ id }) => make(`made of ${id}`),
    maxVms,
    maxBookedShare: 0.5,
    idleMs: 3_600_000,
  })
  onTestFinished(() => standing[Symbol.asyncDispose]())
  const takeName = (id: string) => standing.take(id)?.vm.spec.vmId
  return { standing, ledger, ended, offers, exits, make, takeName }
}

test("One stands for each snapshot, is given away once, and another is made behind it", async () => {
  const { standing, ended, make, takeName } = open(10)
  standing.put("a", make("first"))
  standing.put("a", make("second"))
  expect(ended).toEqual(["second"])
  expect([takeName("b"), takeName("a"), takeName("a")]).toEqual([undefined, "first", undefined])
  standing.fill(snapshotOf("a"))
  standing.fill(snapshotOf("a"))
  await expect.poll(() => standing.count).toBe(1)
  standing.fill(snapshotOf("a"))
  expect(takeName("a")).toBe("made of a")
  expect(standing.count).toBe(0)
  expect(ended).toEqual(["second"])
})

test("The longest unused goes where there are too many, and each with its snapshot, its process or this daemon", async () => {
  const { standing, ended, exits, make } = open(10)
  for (const id of ["a", "b", "c"]) standing.put(id, make(id))
  expect(ended).toEqual(["a"])
  standing.drop("b")
  standing.drop("b")
  exits.get("c")?.()
  await expect.poll(() => ended).toEqual(["a", "b", "c"])
  standing.put("d", make("d"))
  await standing[Symbol.asyncDispose]()
  standing.put("e", make("e"))
  standing.fill(snapshotOf("f"))
  expect(ended).toEqual(["a", "b", "c", "d", "e"])
  expect(standing.count).toBe(0)
})

test("Its memory and its slot are anybody's who needs them, and none is made where memory is in use", async () => {
  const { standing, ledger, ended, offers, make, takeName } = open(2)
  for (const id of ["a", "b"]) standing.put(id, make(id))
  expect(ledger.reservedMiB).toBe(0)
  expect(ledger.reserve("another", MEMORY_MIB)).toBe(true)
  expect(ended).toEqual(["a"])
  await offers.get(2)?.()
  expect(ended).toEqual(["a", "b"])
  standing.put("c", make("c"))
  expect(takeName("c")).toBe("c")
  // One that was taken is not to be had any more.
  expect(ledger.reserve(randomUUID(), MEMORY_MIB)).toBe(false)
  standing.fill(snapshotOf("d"))
  expect(ended).toEqual(["a", "b"])
  expect(standing.count).toBe(0)
})

test("None stands where none is to", async () => {
  const { standing, ended, make } = open(10, 0)
  standing.put("a", make("a"))
  standing.fill(snapshotOf("b"))
  await standing[Symbol.asyncDispose]()
  expect(ended).toEqual(["a"])
})
