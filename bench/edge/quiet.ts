import { readFile } from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"

const WINDOW_MS = 2000

/** How busy this machine is with other work, in percent of all its cores. */
export const busyPercent = async (): Promise<number> => {
  const before = await ticks()
  await sleep(WINDOW_MS)
  const after = await ticks()
  return 100 * (1 - (after.idle - before.idle) / (after.all - before.all))
}

/** Of all cores since the machine began: proc(5). */
const ticks = async () => {
  const [line = ""] = (await readFile("/proc/stat", "utf8")).split("\n")
  const numbers = line.split(/\s+/).slice(1, 9).map(Number)
  return { idle: (numbers[3] ?? 0) + (numbers[4] ?? 0), all: numbers.reduce((sum, one) => sum + one, 0) }
}
