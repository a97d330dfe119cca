/** How much of the guest's processor a function's programs have together, beside nobody. */
import { writeFileSync } from "node:fs"

const FILE = "/sys/fs/cgroup/torpor-app/cpu.max"
/** Short, so that what has used its part up soon goes on. */
const PERIOD_US = 20_000
/** The kernel takes no less. */
const LEAST_US = 1000

/** What they have now. */
let current: number | undefined

/** `undefined` is all of it. Nothing happens where no kernel divides it. */
export const limitProcessor = (share: number | undefined): void => {
  if (share === current) return
  const part = share === undefined ? "max" : String(Math.max(Math.round(share * PERIOD_US), LEAST_US))
  try {
    writeFileSync(FILE, `${part} ${PERIOD_US}`)
    current = share
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error
  }
}
