/** Processes by an identity that a reused pid cannot have: pid, start time and the uuid on QEMU's command line. */
import { readdir, readFile } from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"
import type { VmProcess } from "../vmm.ts"

/** The process's start time (clock ticks since boot), or `undefined` when there is no such process or only its zombie. */
export const startTimeOf = async (pid: number): Promise<number | undefined> => {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined)
  if (stat === undefined) return undefined
  // The second field is the name in parentheses, which may contain anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return fields[0] === "Z" || fields[0] === "X" ? undefined : Number(fields[19])
}

const argumentsOf = async (pid: number): Promise<string[]> =>
  (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0")

const valueAfter = (args: string[], option: string) => {
  const at = args.indexOf(option)
  return at === -1 ? undefined : args[at + 1]
}

/** Whether exactly this process still lives. */
export const isAlive = async ({ pid, startTime, id }: VmProcess): Promise<boolean> =>
  (await startTimeOf(pid)) === startTime && valueAfter(await argumentsOf(pid), "-uuid") === id

/** The name that every VMM process of a host carries on its command line. */
export const processName = (hostId: string) => `torpor-${hostId.slice(0, 8)}`

/** Every VMM process on this machine that carries our host id, whoever started it. */
export const findProcesses = async (hostId: string): Promise<VmProcess[]> => {
  const found: VmProcess[] = []
  for (const entry of await readdir("/proc")) {
    const pid = Number(entry)
    if (!Number.isInteger(pid)) continue
    const args = await argumentsOf(pid)
    // The command line of the jail's monitor ends in QEMU's.
    if (!args[0]?.includes("qemu-system") || valueAfter(args, "-name") !== processName(hostId)) continue
    const [id, startTime] = [valueAfter(args, "-uuid"), await startTimeOf(pid)]
    if (id !== undefined && startTime !== undefined) found.push({ id, pid, startTime })
  }
  return found
}

/** Kills exactly this process and resolves when it is gone; nothing happens when it already is. */
export const killProcess = async (target: VmProcess): Promise<void> => {
  if (!(await isAlive(target))) return
  process.kill(target.pid, "SIGKILL")
  // A process of another session tells nobody of its end: a kill takes a millisecond, so this is no loop in practice.
  while ((await startTimeOf(target.pid)) === target.startTime) await sleep(1)
}
