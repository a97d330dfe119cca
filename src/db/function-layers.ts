/** Layers of functions, their versions, and which versions of functions have them. */
import { index, integer, jsonb, pgTable, primaryKey, text, unique, uuid } from "drizzle-orm/pg-core"
import { at } from "./columns.ts"
import type { PolicyStatement } from "./function-values.ts"
import { functionCodes, functionVersions } from "./functions.ts"

export const functionLayers = pgTable(
  "function_layers",
  {
    id: uuid("id").primaryKey(),
    account: text("account").notNull(),
    region: text("region").notNull(),
    name: text("name").notNull(),
    lastVersion: integer("last_version").notNull().default(0),
  },
  (table) => [unique("function_layers_by_name").on(table.account, table.region, table.name)],
)

export const functionLayerVersions = pgTable(
  "function_layer_versions",
  {
    id: uuid("id").primaryKey(),
    layerId: uuid("layer_id")
      .notNull()
      .references(() => functionLayers.id),
    number: integer("number").notNull(),
    codeId: uuid("code_id")
      .notNull()
      .references(() => functionCodes.id),
    description: text("description").notNull(),
    licenseInfo: text("license_info"),
    runtimes: jsonb("runtimes").$type<string[]>(),
    architectures: jsonb("architectures").$type<string[]>(),
    statements: jsonb("statements").notNull().default([]).$type<PolicyStatement[]>(),
    policyRevisionId: uuid("policy_revision_id"),
    createdAt: at("created_at").notNull(),
    /** Nobody sees it any more; the functions that have it keep it. */
    deletedAt: at("deleted_at"),
  },
  (table) => [
    unique("function_layer_versions_by_number").on(table.layerId, table.number),
    index("function_layer_versions_of_code").on(table.codeId),
  ],
)

/** Which layers a version has: what keeps a deleted one's code. */
export const functionVersionLayers = pgTable(
  "function_version_layers",
  {
    versionId: uuid("version_id")
      .notNull()
      .references(() => functionVersions.id, { onDelete: "cascade" }),
    position: integer("position").notNull(),
    layerVersionId: uuid("layer_version_id")
      .notNull()
      .references(() => functionLayerVersions.id),
  },
  (table) => [
    primaryKey({ columns: [table.versionId, table.position] }),
    index("function_version_layers_of_layer").on(table.layerVersionId),
  ],
)
