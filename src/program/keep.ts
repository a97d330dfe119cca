import { fileURLToPath } from "node:url"
import { runCommand } from "../command.ts"

const fileOf = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/**
 * Puts the program together in one piece (make.ts), if that isn't there already: the next start reads a dozen files instead of a thousand.
 * Whoever starts meanwhile starts from the sources, so it is given what time others leave. Rejects where it cannot be kept, which is no
 * more than slow.
 */
export const keepProgram = async (signal: AbortSignal): Promise<void> => {
  if ((await runCommand(fileOf("current"), [], { signal })) !== "") return
  await runCommand("nice", ["-n", "19", process.execPath, fileOf("make.ts")], { signal })
}
