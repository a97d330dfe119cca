/**
 * Tables of Lambda functions. `$LATEST` is the version with number 0: the only one whose row changes. What belongs to a version or
 * an alias is keyed by the qualifier's text, as callers name it.
 */
import { sql } from "drizzle-orm"
import {
  bigint,
  bigserial,
  check,
  doublePrecision,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  unique,
  uuid,
} from "drizzle-orm/pg-core"
import { at, bytea, oneOf } from "./columns.ts"
import {
  eventKinds,
  functionStates,
  invokeModes,
  recursiveLoops,
  runtimeUpdates,
  updateStates,
  urlAuthTypes,
  type DeadLetterAttributes,
  type Lineage,
  type EventDestinations,
  type FunctionSettings,
  type PolicyStatement,
  type UrlCors,
} from "./function-values.ts"
import { bases, hosts } from "./schema.ts"

/** A zip in this host's store, kept once however many versions have it, and removed with the last of them. */
export const functionCodes = pgTable(
  "function_codes",
  {
    id: uuid("id").primaryKey(),
    hostId: uuid("host_id")
      .notNull()
      .references(() => hosts.id),
    /** Base64, as callers see it. */
    sha256: text("sha256").notNull(),
    bytes: bigint("bytes", { mode: "number" }).notNull(),
    unpackedBytes: bigint("unpacked_bytes", { mode: "number" }).notNull(),
    createdAt: at("created_at").notNull().defaultNow(),
  },
  (table) => [unique("function_codes_by_hash").on(table.hostId, table.sha256)],
)

export const functions = pgTable(
  "functions",
  {
    id: uuid("id").primaryKey(),
    account: text("account").notNull(),
    region: text("region").notNull(),
    name: text("name").notNull(),
    tags: jsonb("tags").notNull().default({}).$type<Record<string, string>>(),
    /** The newest version's number; none is given twice. */
    lastVersion: integer("last_version").notNull().default(0),
    reservedConcurrency: integer("reserved_concurrency"),
    recursiveLoop: text("recursive_loop", { enum: recursiveLoops }).notNull().default("Terminate"),
    createdAt: at("created_at").notNull().defaultNow(),
  },
  (table) => [
    unique("functions_by_name").on(table.account, table.region, table.name),
    oneOf("functions_recursive_loop", table.recursiveLoop, recursiveLoops),
    check("functions_reserved", sql`${table.reservedConcurrency} >= 0`),
  ],
)

export const functionVersions = pgTable(
  "function_versions",
  {
    id: uuid("id").primaryKey(),
    functionId: uuid("function_id")
      .notNull()
      .references(() => functions.id, { onDelete: "cascade" }),
    /** 0 is `$LATEST`. */
    number: integer("number").notNull(),
    codeId: uuid("code_id")
      .notNull()
      .references(() => functionCodes.id),
    settings: jsonb("settings").notNull().$type<FunctionSettings>(),
    /** Encrypted: environment variables are secrets of the function's author. Null when none were ever given. */
    sealedEnvironment: bytea("sealed_environment"),
    /** Of code, settings and environment: whether a publication would be the same again. */
    definitionHash: text("definition_hash").notNull(),
    state: text("state", { enum: functionStates }).notNull(),
    /** Null until the first settling is over. */
    updateState: text("update_state", { enum: updateStates }),
    /** Why the last settling failed. */
    failure: jsonb("failure").$type<{ code: string; reason: string }>(),
    revisionId: uuid("revision_id").notNull(),
    modifiedAt: at("modified_at").notNull(),
  },
  (table) => [
    unique("function_versions_by_number").on(table.functionId, table.number),
    index("function_versions_of_code").on(table.codeId),
    index("function_versions_unsettled")
      .on(table.state)
      .where(sql`${table.state} = 'Pending' or ${table.updateState} = 'InProgress'`),
    oneOf("function_versions_state", table.state, functionStates),
    oneOf("function_versions_update_state", table.updateState, updateStates),
  ],
)

export const functionAliases = pgTable(
  "function_aliases",
  {
    id: uuid("id").primaryKey(),
    functionId: uuid("function_id")
      .notNull()
      .references(() => functions.id, { onDelete: "cascade" }),
    name: text("name").notNull(),
    number: integer("number").notNull(),
    /** The version that takes this share of the requests; the rest is the first one's. */
    otherNumber: integer("other_number"),
    otherWeight: doublePrecision("other_weight"),
    description: text("description").notNull(),
    revisionId: uuid("revision_id").notNull(),
  },
  (table) => [unique("function_aliases_by_name").on(table.functionId, table.name)],
)

const ofQualifier = {
  functionId: uuid("function_id")
    .notNull()
    .references(() => functions.id, { onDelete: "cascade" }),
  /** A number, an alias, `$LATEST`, or empty for the function itself. */
  qualifier: text("qualifier").notNull(),
}

export const functionPolicies = pgTable(
  "function_policies",
  {
    ...ofQualifier,
    statements: jsonb("statements").notNull().$type<PolicyStatement[]>(),
    revisionId: uuid("revision_id").notNull(),
  },
  (table) => [primaryKey({ columns: [table.functionId, table.qualifier] })],
)

export const functionEventConfigs = pgTable(
  "function_event_configs",
  {
    ...ofQualifier,
    maximumRetries: integer("maximum_retries"),
    maximumAgeSeconds: integer("maximum_age_seconds"),
    destinations: jsonb("destinations").notNull().$type<EventDestinations>(),
    modifiedAt: at("modified_at").notNull(),
  },
  (table) => [primaryKey({ columns: [table.functionId, table.qualifier] })],
)

export const functionRuntimeConfigs = pgTable(
  "function_runtime_configs",
  {
    ...ofQualifier,
    updateOn: text("update_on", { enum: runtimeUpdates }).notNull(),
    runtimeVersionArn: text("runtime_version_arn"),
  },
  (table) => [
    primaryKey({ columns: [table.functionId, table.qualifier] }),
    oneOf("function_runtime_configs_update_on", table.updateOn, runtimeUpdates),
  ],
)

/** How many environments of a version or an alias are kept initialised. */
export const functionProvisions = pgTable(
  "function_provisions",
  {
    ...ofQualifier,
    requested: integer("requested").notNull(),
    modifiedAt: at("modified_at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.functionId, table.qualifier] }),
    check("function_provisions_requested", sql`${table.requested} >= 1`),
  ],
)

/** What a version has been used for within an hour. It refers to no function's row: what is counted is written when that may be gone. */
export const functionUsage = pgTable(
  "function_usage",
  {
    functionId: uuid("function_id").notNull(),
    /** `$LATEST` or a number. */
    version: text("version").notNull(),
    hour: at("hour").notNull(),
    invocations: bigint("invocations", { mode: "number" }).notNull(),
    errors: bigint("errors", { mode: "number" }).notNull(),
    throttles: bigint("throttles", { mode: "number" }).notNull(),
    durationMs: doublePrecision("duration_ms").notNull(),
    gbSeconds: doublePrecision("gb_seconds").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.functionId, table.version, table.hour] }),
    index("function_usage_by_hour").on(table.hour),
  ],
)

export const functionUrls = pgTable(
  "function_urls",
  {
    /** The first label of its name: 32 lower-case letters and digits. */
    id: text("id").primaryKey(),
    ...ofQualifier,
    authType: text("auth_type", { enum: urlAuthTypes }).notNull(),
    invokeMode: text("invoke_mode", { enum: invokeModes }).notNull(),
    cors: jsonb("cors").$type<UrlCors>(),
    createdAt: at("created_at").notNull(),
    modifiedAt: at("modified_at"),
  },
  (table) => [
    unique("function_urls_by_qualifier").on(table.functionId, table.qualifier),
    oneOf("function_urls_auth_type", table.authType, urlAuthTypes),
    oneOf("function_urls_invoke_mode", table.invokeMode, invokeModes),
  ],
)

/** What environments of a runtime are launched from, for each size of VM; another base replaces one that is stale. */
export const runtimeBases = pgTable(
  "runtime_bases",
  {
    hostId: uuid("host_id")
      .notNull()
      .references(() => hosts.id),
    runtime: text("runtime").notNull(),
    memoryMiB: integer("memory_mib").notNull(),
    baseId: uuid("base_id")
      .notNull()
      .references(() => bases.id),
    /** A digest of its disks, and of how it was made. */
    madeOf: text("made_of").notNull(),
  },
  (table) => [primaryKey({ columns: [table.hostId, table.runtime, table.memoryMiB] })],
)

/**
 * What waits for its delivery by one host: asynchronous events, and what is told of those that are over. A row is deleted when it is
 * delivered or given up. It refers to no function's row: taking an event in waits for nobody who changes the function.
 */
export const functionEvents = pgTable(
  "function_events",
  {
    position: bigserial("position", { mode: "number" }).primaryKey(),
    hostId: uuid("host_id")
      .notNull()
      .references(() => hosts.id),
    account: text("account").notNull(),
    region: text("region").notNull(),
    /** Of an invocation the function that is called, of all else the one whose event is over. */
    functionId: uuid("function_id").notNull(),
    functionName: text("function_name").notNull(),
    kind: text("kind", { enum: eventKinds }).notNull(),
    /** Of an invocation the qualifier, empty when none was said; else the destination's ARN. */
    target: text("target").notNull(),
    requestId: uuid("request_id").notNull(),
    body: bytea("body").notNull(),
    clientContext: text("client_context"),
    traceId: text("trace_id"),
    /** Of a dead letter. */
    attributes: jsonb("attributes").$type<DeadLetterAttributes>(),
    /** The functions whose destinations have brought it here. */
    lineage: jsonb("lineage").$type<Lineage>().notNull().default({}),
    /** Of an invocation: how often the function has failed with it. */
    attempts: integer("attempts").notNull().default(0),
    acceptedAt: at("accepted_at").notNull(),
    dueAt: at("due_at").notNull(),
  },
  (table) => [
    index("function_events_due").on(
      table.hostId,
      table.functionId,
      table.kind,
      table.target,
      table.dueAt,
      table.position,
    ),
    oneOf("function_events_kind", table.kind, eventKinds),
  ],
)
