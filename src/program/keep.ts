import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { runCommand } from "../command.ts"
import { isCurrent, PROGRAMS } from "./current.ts"

/**
 * Puts the program together in one piece (make.ts), if that isn't there already: the next start reads a dozen files instead of a thousand.
 * Whoever starts meanwhile starts from the sources, so it is given what time others leave. Rejects where it cannot be kept, which is no
 * more than slow.
 */
export const keepProgram = async (signal: AbortSignal): Promise<void> => {
  const root = fileURLToPath(new URL("../../", import.meta.url))
  if (isCurrent(root, join(root, PROGRAMS, "current"))) return
  await runCommand("nice", ["-n", "19", process.execPath, join(root, "src/program/make.ts")], { signal })
}
