/** How much of the guest's memory a function's programs have together, what they keep in memory disks too. */
import { readFileSync, writeFileSync } from "node:fs"

const GROUP = "/sys/fs/cgroup/torpor-app"

/** `null` is all of it. Nothing happens where no kernel counts it. */
export const limitMemory = (maxMiB: number | null): void => {
  try {
    writeFileSync(`${GROUP}/memory.max`, maxMiB === null ? "max" : String(maxMiB * 1024 ** 2))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error
  }
}

/** The most that they have had, in bytes; 0 where no kernel counts it. */
export const readMemoryPeak = (): number => {
  try {
    return Number(readFileSync(`${GROUP}/memory.peak`, "utf8"))
  } catch {
    return 0
  }
}
