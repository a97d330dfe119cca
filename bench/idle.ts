/** What waiting costs: the daemon and its Postgres with no VM, and with ten that have nothing to do. */
import { readdir, readFile } from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"
import { TerminateMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import { processesOf, type TestDaemon } from "../test/fixtures/daemon.ts"
import type { Bench } from "./bench.ts"

const VMS = 10
const WINDOWS = 6
const WINDOW_MS = 5000

export const idle: Bench = {
  summary: "processor time of an idle daemon, and of ten idle VMs with it",
  claims: [
    { of: "idle daemon", most: 1 },
    { of: `${VMS} idle VMs`, most: 20 },
  ],
  async run({ daemon, progress }) {
    await sleep(WINDOW_MS)
    const alone = await measure(daemon)
    progress("idle: the daemon alone")
    const vms = []
    for (let number = 1; number <= VMS; number++) {
      const vm = await daemon.run({ image: "bench" })
      vms.push(vm)
      const { status } = await vm.get("/")
      if (status !== 200) throw new Error(`MicroVM ${number} answered ${status}`)
    }
    await sleep(WINDOW_MS)
    const withVms = await measure(daemon)
    progress(`idle: with ${VMS} VMs`)
    for (const vm of vms) {
      vm.close()
      await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
      await daemon.untilState(vm.id, "TERMINATED")
    }
    return {
      "idle daemon": { unit: "percent of a core", values: alone },
      [`${VMS} idle VMs`]: { unit: "percent of a core", values: withVms },
    }
  },
}

const measure = async (daemon: TestDaemon): Promise<number[]> => {
  const values: number[] = []
  for (let window = 0; window < WINDOWS; window++) {
    const [startedAt, before] = [performance.now(), await usedMs(daemon)]
    await sleep(WINDOW_MS)
    values.push((((await usedMs(daemon)) - before) / (performance.now() - startedAt)) * 100)
  }
  return values
}

/** Processor time of the daemon, its Postgres and its VMs so far. */
const usedMs = async ({ hostId, pid }: TestDaemon): Promise<number> => {
  const pids = [pid, ...processesOf(hostId.slice(0, 8)), ...(await postgresOf(hostId))]
  return (await Promise.all(pids.map(ranMs))).reduce((sum, ms) => sum + ms, 0)
}

/** The postmaster, by its data directory, and its children. */
const postgresOf = async (hostId: string): Promise<number[]> => {
  const all = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number)
  const facts = await Promise.all(
    all.map(async (pid) => ({
      pid,
      words: await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => ""),
      parent: Number(/^PPid:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, "utf8").catch(() => ""))?.[1]),
    })),
  )
  const master = facts.find(({ words }) => words.includes(`/run/torpor/postgres/${hostId.slice(0, 8)}/data`))
  return facts.flatMap(({ pid, parent }) => (pid === master?.pid || parent === master?.pid ? [pid] : []))
}

/** All threads of a process, in ms; 0 for one that has ended. */
const ranMs = async (pid: number): Promise<number> => {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => [])
  const texts = await Promise.all(
    threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/schedstat`, "utf8").catch(() => "0")),
  )
  return texts.reduce((sum, text) => sum + Number(text.split(" ")[0]), 0) / 1e6
}
