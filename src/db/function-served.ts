/** What serves `$LATEST` while an update of it is in progress, or has failed: as it was when it was last whole. None otherwise. */
import { index, integer, jsonb, pgTable, primaryKey, uuid } from "drizzle-orm/pg-core"
import { bytea } from "./columns.ts"
import type { FunctionSettings } from "./function-values.ts"
import { functionLayerVersions } from "./function-layers.ts"
import { functionCodes, functionVersions } from "./functions.ts"

export const functionServed = pgTable(
  "function_served",
  {
    versionId: uuid("version_id")
      .primaryKey()
      .references(() => functionVersions.id, { onDelete: "cascade" }),
    codeId: uuid("code_id")
      .notNull()
      .references(() => functionCodes.id),
    settings: jsonb("settings").notNull().$type<FunctionSettings>(),
    /** As in the version. */
    sealedEnvironment: bytea("sealed_environment"),
  },
  (table) => [index("function_served_of_code").on(table.codeId)],
)

export const functionServedLayers = pgTable(
  "function_served_layers",
  {
    versionId: uuid("version_id")
      .notNull()
      .references(() => functionServed.versionId, { onDelete: "cascade" }),
    position: integer("position").notNull(),
    layerVersionId: uuid("layer_version_id")
      .notNull()
      .references(() => functionLayerVersions.id),
  },
  (table) => [
    primaryKey({ columns: [table.versionId, table.position] }),
    index("function_served_layers_of_layer").on(table.layerVersionId),
  ],
)
