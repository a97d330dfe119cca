/** Random suspends of real MicroVMs under load, at a daemon that runs. */
import { GetMicrovmCommand, SuspendMicrovmCommand, TerminateMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import { setTimeout as sleep } from "node:timers/promises"
import type { TestDaemon, TestVm } from "../fixtures/daemon.ts"
import { toGuestApp } from "../fixtures/guest-app.ts"
import { createRandom } from "../fixtures/random.ts"
import { audited, runClient, type Account } from "./clients.ts"

export interface Soak {
  /** Counted in the history of states. */
  readonly suspends: number
  readonly answered: number
  readonly givenUp: number
  /** Every request that failed or came twice, every VM in a wrong state. */
  readonly wrong: string[]
}

const CLIENTS_PER_VM = 4
/** Pino's levels for errors. */
const ERROR = /"level":[56]0/
const PACE = { pause: 150, rest: 2000, patience: 1500 }

/** Builds the witness's image; once for a daemon. */
export const buildWitness = async (daemon: TestDaemon): Promise<void> =>
  daemon.build("witness", await toGuestApp("../suspends/witness-app.ts"))

/** Suspends `vms` MicroVMs of the image at random until all together were asleep `count` times. They are over when it resolves. */
export const soak = async (
  daemon: TestDaemon,
  { count, vms: howMany, seed, progress }: { count: number; vms: number; seed: number; progress(line: string): void },
): Promise<Soak> => {
  const over = new AbortController()
  const before = daemon.lines.length
  const vms: { vm: TestVm; account: Account; work: Promise<unknown>[] }[] = []
  for (let number = 0; number < howMany; number++) {
    const vm = await daemon.run({ image: "witness" })
    await daemon.untilState(vm.id, "RUNNING")
    vms.push({ vm, account: { answered: [], givenUp: [], failed: [] }, work: [] })
  }
  const ids = new Set(vms.map(({ vm }) => vm.id.replace(/^microvm-/, "")))
  const reached = countSuspends(daemon.lines, before, ids)
  for (const [number, { vm, account, work }] of vms.entries()) {
    for (let client = 0; client < CLIENTS_PER_VM; client++)
      work.push(runClient(vm, daemon.ca, createRandom(seed + 100 * number + client), PACE, account, over.signal))
    work.push(suspendAtRandom(daemon, vm, seed + 100 * number + 99, account, over.signal))
  }
  try {
    let last = 0
    while (reached() < count) {
      await sleep(100)
      if (reached() >= last + 10) progress(`${(last = reached())} suspends of ${count}`)
      const failed = vms.flatMap(({ account }) => account.failed)
      if (failed.length > 0) break
    }
  } finally {
    over.abort()
    await Promise.all(vms.flatMap(({ work }) => work))
  }
  const suspends = reached()
  const wrong: string[] = []
  for (const { vm, account } of vms)
    wrong.push(...(await audit(daemon, vm, account).catch((error: Error) => [...account.failed, String(error)])))
  // Whose fault it was, its log may say.
  if (wrong.length > 0) wrong.push(...daemon.lines.slice(before).filter((line) => ERROR.test(line)))
  return {
    suspends,
    answered: vms.reduce((sum, { account }) => sum + account.answered.length, 0),
    givenUp: vms.reduce((sum, { account }) => sum + account.givenUp.length, 0),
    wrong,
  }
}

/** Answers how often one of them came from SUSPENDING to SUSPENDED, by what their statecharts have said in these lines, which grow. */
const countSuspends = (lines: readonly string[], from: number, ids: ReadonlySet<string>): (() => number) => {
  const last = new Map<string, string>()
  let [next, count] = [from, 0]
  return () => {
    for (const line of lines.slice(next)) {
      next++
      if (!line.includes('"msg":"MicroVM"')) continue
      const { microvm, state } = JSON.parse(line) as { microvm: string; state: string }
      if (!ids.has(microvm)) continue
      if (state === "SUSPENDED" && last.get(microvm) === "SUSPENDING") count++
      last.set(microvm, state)
    }
    return count
  }
}

const suspendAtRandom = async (
  daemon: TestDaemon,
  { id }: TestVm,
  seed: number,
  { failed }: Account,
  over: AbortSignal,
) => {
  const random = createRandom(seed)
  while (!over.aborted) {
    await sleep(random.below(700), undefined, { signal: over }).catch(() => {})
    // One that wakes just now cannot be suspended: that is no failure, and no suspend.
    await daemon.client.send(new SuspendMicrovmCommand({ microvmIdentifier: id })).catch((error: Error) => {
      if (error.name !== "ConflictException") failed.push(`SuspendMicrovm of ${id}: ${error.message}`)
    })
  }
}

/** One that comes to rest sleeps or runs, answers once more, and saw what its clients say; it is over then. */
const audit = async (daemon: TestDaemon, vm: TestVm, account: Account): Promise<string[]> => {
  const state = await restOf(daemon, vm)
  const { status, body } = await vm.get("/seen")
  const states = [state, await restOf(daemon, vm)]
  vm.close()
  await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
  await daemon.untilState(vm.id, "TERMINATED")
  if (status !== 200) return [...account.failed, `${vm.id} is ${states.join(" and ")} and answers ${status}: ${body}`]
  const wrong = audited(account, JSON.parse(body) as Record<string, number>)
  return states[1] === "RUNNING" ? wrong : [...wrong, `${vm.id} answered and is ${states[1]}`]
}

const restOf = async ({ client }: TestDaemon, { id }: TestVm): Promise<string> => {
  for (;;) {
    const { state = "" } = await client.send(new GetMicrovmCommand({ microvmIdentifier: id }))
    if (state !== "SUSPENDING") return state
    await sleep(20)
  }
}
