/** Everything that can be asked about functions. */
import { createAliasVerbs } from "./aliases.ts"
import { createFunctionVerbs } from "./functions.ts"
import type { FunctionsGround } from "./ground.ts"
import { createUpdateVerbs } from "./updates.ts"
import { createVersionVerbs } from "./versions.ts"

/** The verbs about functions, by what they are about. */
export const createFunctions = (ground: FunctionsGround) => ({
  functions: createFunctionVerbs(ground),
  updates: createUpdateVerbs(ground),
  versions: createVersionVerbs(ground),
  aliases: createAliasVerbs(ground),
})

export type Functions = ReturnType<typeof createFunctions>
