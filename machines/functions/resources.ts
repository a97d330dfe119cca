/** Everything that can be asked about functions. */
import { createAliasVerbs } from "./publishing/aliases.ts"
import { createEventConfigVerbs } from "./settings/event-configs.ts"
import { createFunctionVerbs } from "./functions.ts"
import type { FunctionsGround } from "./ground.ts"
import { createLayerVerbs } from "./layers/layers.ts"
import { createOwnSettingVerbs } from "./settings/own-settings.ts"
import { createPermissionVerbs } from "./access/permissions.ts"
import { createUpdateVerbs } from "./updates.ts"
import { createUrlVerbs } from "./settings/urls.ts"
import { createVersionVerbs } from "./publishing/versions.ts"

/** The verbs about functions, by what they are about. */
export const createFunctions = (ground: FunctionsGround) => ({
  functions: createFunctionVerbs(ground),
  updates: createUpdateVerbs(ground),
  versions: createVersionVerbs(ground),
  aliases: createAliasVerbs(ground),
  permissions: createPermissionVerbs(ground),
  eventConfigs: createEventConfigVerbs(ground),
  urls: createUrlVerbs(ground),
  own: createOwnSettingVerbs(ground),
  layers: createLayerVerbs(ground),
})

export type Functions = ReturnType<typeof createFunctions>
