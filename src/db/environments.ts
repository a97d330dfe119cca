/** Execution environments: VMs that serve one version of a function each. */
import { sql } from "drizzle-orm"
import { bigint, boolean, index, integer, pgTable, text, uniqueIndex, uuid } from "drizzle-orm/pg-core"
import { at, bytea, oneOf } from "./columns.ts"
import { initializations } from "./function-values.ts"
import { bases, hosts, vms } from "./schema.ts"
import { causes, lifeStates, type Cause } from "./values.ts"

/** Neither its function nor its version is referred to: both may be deleted while it comes to its end. */
export const environments = pgTable(
  "environments",
  {
    id: uuid("id").primaryKey(),
    vmId: uuid("vm_id")
      .notNull()
      .references(() => vms.id),
    hostId: uuid("host_id")
      .notNull()
      .references(() => hosts.id),
    account: text("account").notNull(),
    region: text("region").notNull(),
    functionId: uuid("function_id").notNull(),
    versionId: uuid("version_id").notNull(),
    functionName: text("function_name").notNull(),
    /** `$LATEST` or a number. */
    version: text("version").notNull(),
    definitionId: text("definition_id").notNull(),
    /** All that it runs, encrypted: environment variables are secrets of the function's author. Whoever takes it over goes on with this. */
    sealedDefinition: bytea("sealed_definition").notNull(),
    initialization: text("initialization", { enum: initializations }).notNull(),
    state: text("state", { enum: lifeStates }).notNull(),
    stateReason: text("state_reason"),
    cause: text("cause", { enum: causes }).notNull().$type<Cause>(),
    createdAt: at("created_at").notNull(),
    /** Absolute; nothing extends it. */
    deadlineAt: at("deadline_at").notNull(),
    terminatedAt: at("terminated_at"),
    /** Raised by each step that its actor stores, which enters by these columns: what it was doing can be seen at its VM. */
    generation: integer("generation").notNull().default(0),
  },
  (table) => [
    index("environments_live")
      .on(table.hostId)
      .where(sql`${table.state} <> 'TERMINATED'`),
    index("environments_over").on(table.hostId, table.terminatedAt),
    index("environments_of_vm").on(table.vmId),
    oneOf("environments_initialization", table.initialization, initializations),
    oneOf("environments_state", table.state, lifeStates),
    oneOf("environments_cause", table.cause, causes),
  ],
)

/**
 * What environments of a definition are launched from instead of being initialised: a directory of files by the row's id. It refers to
 * no function, which may be deleted at any time; with its base's row it is gone.
 */
export const versionSnapshots = pgTable(
  "version_snapshots",
  {
    id: uuid("id").primaryKey(),
    hostId: uuid("host_id")
      .notNull()
      .references(() => hosts.id),
    baseId: uuid("base_id")
      .notNull()
      .references(() => bases.id, { onDelete: "cascade" }),
    functionId: uuid("function_id").notNull(),
    versionId: uuid("version_id").notNull(),
    definitionId: text("definition_id").notNull(),
    /** Whose memory it was, and in which of its lives. */
    vmId: uuid("vm_id").notNull(),
    incarnation: integer("incarnation").notNull(),
    /** On disk. */
    bytes: bigint("bytes", { mode: "number" }).notNull(),
    /** It was asked for, by SnapStart, and not made because it was worth it. */
    isAsked: boolean("is_asked").notNull(),
    /** Milliseconds that an Init took. */
    initMs: integer("init_ms").notNull(),
    /** Milliseconds that a restore takes, hooks included, as it is estimated; `null` before the first. */
    restoreMs: integer("restore_ms"),
    /** Restores that failed since the last that didn't. */
    failures: integer("failures").notNull().default(0),
    usedAt: at("used_at").notNull(),
  },
  (table) => [uniqueIndex("version_snapshots_of_definition").on(table.hostId, table.definitionId)],
)
