import { setTimeout as sleep } from "node:timers/promises"
import { expect, test } from "vitest"
import { waitFor } from "xstate"
import { toMicrovmState } from "../../machines/microvm.ts"
import { ServiceError } from "../../src/errors.ts"
import { eventually } from "../fixtures/eventually.ts"
import { createRandom } from "../fixtures/random.ts"
import { audited, runClient, type Account } from "./clients.ts"
import { openSleepers } from "./sleepers.ts"

const SUSPENDS = 1000
const VMS = 8
const CLIENTS_PER_VM = 2
/** Ms: so that requests come in every state, and some VMs are let alone long enough to sleep by themselves. */
const PACE = { pause: 80, rest: 200, patience: 50 }
const POLICY = { maxIdleSeconds: 0.03, suspendedSeconds: 600, autoResume: true }

test(`Of ${SUSPENDS} random suspends under load none loses a request or doubles one, and none leaves a MicroVM in a wrong state`, async () => {
  const seed = Number(process.env["TORPOR_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 31))
  const random = createRandom(seed)
  await using sleepers = await openSleepers()
  sleepers.delay.before = () => sleep(random.below(8))
  const over = new AbortController()
  let [slept, failed] = [0, 0]
  const states = new Map<string, string>()
  sleepers.onState = (id, state) => {
    if (state === "SUSPENDED" && states.get(id) === "SUSPENDING" && ++slept >= SUSPENDS) over.abort()
    states.set(id, state)
  }
  const vms = await Promise.all(
    Array.from({ length: VMS }, async (_, number) => ({
      ...(await sleepers.add(number % 2 === 0 ? POLICY : null)),
      sleepsByItself: number % 2 === 0,
      account: { answered: [], givenUp: [], failed: [] } as Account,
    })),
  )

  const suspend = async (id: string) => {
    while (!over.signal.aborted) {
      await sleep(random.below(30))
      // Most wishes are for one that runs: another changes nothing.
      if (states.get(id) !== "RUNNING" && random.below(10) > 0) continue
      // One that is in the middle of its wake cannot be suspended: that is no suspend, and no failure.
      await sleepers.microvms.suspend(id, sleepers.caller).catch((error: unknown) => {
        if (!(error instanceof ServiceError)) throw error
      })
      if (vms.some(({ account }) => account.failed.length > failed)) {
        failed++
        over.abort()
      }
    }
  }
  await Promise.all(
    vms.flatMap((vm, number) => [
      suspend(vm.id),
      ...Array.from({ length: CLIENTS_PER_VM }, (_, client) =>
        runClient(vm, sleepers.ca, createRandom(seed + number * 100 + client), PACE, vm.account, over.signal),
      ),
    ]),
  )

  const wrong: string[] = []
  /** Where one is that nobody uses. */
  const rests = (sleepsByItself: boolean): string[] => (sleepsByItself ? ["SUSPENDED"] : ["RUNNING", "SUSPENDED"])
  let reached = 0
  for (const { id, vmId, account, sleepsByItself } of vms) {
    wrong.push(...audited(account, await sleepers.guests.seenBy(vmId)))
    // The edge hears of who left a moment later.
    await eventually(() => expect(sleepers.router.activityOf(id)).toMatchObject({ open: 0, held: 0 })).catch(
      (error: Error) => wrong.push(`${id} counts what is over: ${error.message}`),
    )
    const actor = sleepers.registry.get(id)
    if (actor === undefined) throw new Error(`${id} is over`)
    const rest = await waitFor(
      actor,
      (snapshot) =>
        rests(sleepsByItself).includes(toMicrovmState(snapshot)) && !snapshot.matches({ alive: "resuming" }),
    )
    await sleepers.registry.stored(id)
    const state = toMicrovmState(rest)
    const said = (await sleepers.microvms.get(id, sleepers.caller)).state
    if (said !== state) wrong.push(`${id} is ${state} and its row says ${said}`)
    if (sleepers.live.has(vmId) !== (state === "RUNNING")) wrong.push(`${id} is ${state}, and its guest is not`)
    reached += await sleepers.came(id, "SUSPENDED")
  }
  const requests = vms.flatMap(({ account }) => account)
  const total = (of: "answered" | "givenUp") => requests.reduce((sum, account) => sum + account[of].length, 0)
  expect(wrong, `seed ${seed}`).toEqual([])
  expect(reached).toBeGreaterThanOrEqual(SUSPENDS)
  // It was a load, and a part of it was given up.
  expect(total("answered")).toBeGreaterThan(SUSPENDS)
  expect(total("givenUp")).toBeGreaterThan(SUSPENDS / 20)
})
