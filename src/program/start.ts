/** Starts the program that lies beside this, or from the sources where one has changed since. */
import { join } from "node:path"
import { isCurrent, PROGRAMS } from "./current.ts"
import { nameSources } from "./stacks.ts"

const program = import.meta.dirname
const root = join(program, ...PROGRAMS.split("/").map(() => ".."), "..")
if (isCurrent(root, program)) {
  nameSources(program)
  await import(join(program, "main.mjs"))
} else await import(join(root, "src/main.ts"))
