import { readdir, readFile } from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"

/** How long a look takes; a guest that has nothing to do needs less than a hundredth of it. */
const LOOK_MS = 100
const IDLE_SHARE = 0.05
const IDLE_LOOKS = 4
const PATIENCE_MS = 10_000

/**
 * Resolves when a process has had nearly nothing to do for a while, or at the latest after ten seconds: what a guest's runtimes tidy up
 * after their last work, every clone of it would do again. Time in which it wanted a processor and had none counts as work.
 */
export const untilQuiet = async (pid: number, signal: AbortSignal): Promise<void> => {
  const deadline = performance.now() + PATIENCE_MS
  let [lookedAt, before] = [performance.now(), await workOf(pid)]
  for (let idle = 0; idle < IDLE_LOOKS && lookedAt < deadline;) {
    await sleep(LOOK_MS, undefined, { signal })
    const [now, work] = [performance.now(), await workOf(pid)]
    idle = work - before < (now - lookedAt) * IDLE_SHARE ? idle + 1 : 0
    ;[lookedAt, before] = [now, work]
  }
}

/** What all threads of a process have run or waited to run, in ms. */
const workOf = async (pid: number): Promise<number> => {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => [])
  const works = await Promise.all(
    threads.map(async (thread) => {
      // Nanoseconds on a processor, nanoseconds in a queue for one; a thread may have ended meanwhile.
      const text = await readFile(`/proc/${pid}/task/${thread}/schedstat`, "utf8").catch(() => "")
      const [ran = 0, waited = 0] = text.split(" ").map(Number)
      return ran + waited
    }),
  )
  return works.reduce((sum, work) => sum + work, 0) / 1e6
}
