import { fileURLToPath } from "node:url"
import { runCommand } from "../src/command.ts"

/** Compiles a file of C into a small program or library; a warning is an error. */
export const compileC = async (
  source: URL,
  to: string,
  flags: readonly string[],
  signal: AbortSignal,
): Promise<void> => {
  const common = ["-Os", "-Wall", "-Wextra", "-Werror", "-s"]
  await runCommand("gcc", [...flags, ...common, "-o", to, fileURLToPath(source)], { signal })
}
