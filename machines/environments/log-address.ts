import { functionGroup, streamName } from "../../src/logs/names.ts"
import type { Definition } from "../functions/definition.ts"

/** Where what an environment says is found: one stream each, in the function's group or that which it names. */
export const toLogAddress = (
  { id, createdAt }: { readonly id: string; readonly createdAt: Date },
  { name, version, settings }: Pick<Definition, "name" | "version" | "settings">,
) => ({
  logGroup: settings.logging.group ?? functionGroup(name),
  logStream: streamName(createdAt, version, id.replaceAll("-", "")),
})
