/** Where the program is, put together in one piece (make.ts), and whether it still is what the sources are. */
import { readFileSync, statSync } from "node:fs"
import { join } from "node:path"

/** Below the checkout. */
export const PROGRAMS = "node_modules/.cache/torpor"

/**
 * Whether none of its sources has changed since it was begun. It goes by the time of a file's last change of any kind (ctime), which
 * nothing can set: checkouts, copies and archives bring times of their own for the others.
 */
export const isCurrent = (root: string, program: string): boolean => {
  try {
    const begunAt = statSync(join(program, "begun"), { bigint: true }).mtimeNs
    return readFileSync(join(program, "sources"), "utf8")
      .split("\n")
      .every((source) => statSync(join(root, source), { bigint: true }).ctimeNs <= begunAt)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error
    return false
  }
}
