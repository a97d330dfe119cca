/**
 * What everything stands on, MicroVMs and their images. Resources are keyed by (account, region, name) and owned by one actor, the only
 * writer of its row: each saved step raises `generation`, and a write that finds another generation has met another owner and stops.
 * What runs on a host (`vms`, `bases`, `layers`) is apart from what was asked for (`microvms`, `image_versions`).
 */
import { sql } from "drizzle-orm"
import {
  bigint,
  bigserial,
  check,
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
import type { Cause, IdlePolicy, ImageSettings, LoggingTarget, RunSettings } from "./values.ts"
import {
  buildStates,
  causes,
  imageStates,
  lifeStates,
  snapshotStates,
  versionStates,
  versionStatuses,
  vmKinds,
} from "./values.ts"

/** Columns of everything that an actor owns. `machine` is the statechart's persisted snapshot, of version `machineVersion`. */
const owned = {
  hostId: uuid("host_id")
    .notNull()
    .references(() => hosts.id),
  generation: integer("generation").notNull().default(0),
  machine: jsonb("machine"),
  machineVersion: integer("machine_version").notNull(),
}

export const hosts = pgTable("hosts", {
  id: uuid("id").primaryKey(),
  name: text("name").notNull(),
  createdAt: at("created_at").notNull().defaultNow(),
  seenAt: at("seen_at").notNull().defaultNow(),
})

export const accessKeys = pgTable("access_keys", {
  accessKeyId: text("access_key_id").primaryKey(),
  account: text("account").notNull(),
  /** Encrypted under the data directory's key file. */
  sealedSecret: bytea("sealed_secret").notNull(),
  createdAt: at("created_at").notNull().defaultNow(),
})

export const signingKeys = pgTable("signing_keys", {
  kid: text("kid").primaryKey(),
  publicJwk: jsonb("public_jwk").notNull().$type<Record<string, unknown>>(),
  /** Encrypted under the data directory's key file. */
  sealedPrivateJwk: bytea("sealed_private_jwk").notNull(),
  createdAt: at("created_at").notNull().defaultNow(),
  retiredAt: at("retired_at"),
})

export const images = pgTable(
  "images",
  {
    id: uuid("id").primaryKey(),
    account: text("account").notNull(),
    region: text("region").notNull(),
    name: text("name").notNull(),
    state: text("state", { enum: imageStates }).notNull(),
    /** The number before the point of the newest version that it ever had: none is given twice. */
    lastVersion: integer("last_version").notNull().default(0),
    latestActiveVersion: text("latest_active_version"),
    latestFailedVersion: text("latest_failed_version"),
    tags: jsonb("tags").notNull().default({}).$type<Record<string, string>>(),
    createdAt: at("created_at").notNull().defaultNow(),
    updatedAt: at("updated_at"),
  },
  (table) => [
    unique("images_by_name").on(table.account, table.region, table.name),
    oneOf("images_state", table.state, imageStates),
  ],
)

export const imageVersions = pgTable(
  "image_versions",
  {
    id: uuid("id").primaryKey(),
    imageId: uuid("image_id")
      .notNull()
      .references(() => images.id),
    version: text("version").notNull(),
    state: text("state", { enum: versionStates }).notNull(),
    status: text("status", { enum: versionStatuses }).notNull(),
    cause: text("cause", { enum: causes }).$type<Cause>(),
    baseImageArn: text("base_image_arn").notNull(),
    baseImageVersion: text("base_image_version").notNull(),
    buildRoleArn: text("build_role_arn").notNull(),
    codeArtifactUri: text("code_artifact_uri").notNull(),
    memoryMiB: integer("memory_mib").notNull(),
    settings: jsonb("settings").notNull().$type<ImageSettings>(),
    /** Encrypted: environment variables are secrets of the image's author. */
    sealedEnvironment: bytea("sealed_environment"),
    /** What the Dockerfile said, once it is built. */
    runSettings: jsonb("run_settings").$type<RunSettings>(),
    baseId: uuid("base_id").references(() => bases.id),
    createdAt: at("created_at").notNull().defaultNow(),
    updatedAt: at("updated_at"),
    ...owned,
  },
  (table) => [
    unique("image_versions_by_version").on(table.imageId, table.version),
    index("image_versions_unfinished")
      .on(table.hostId)
      .where(sql`${table.state} in ('PENDING', 'IN_PROGRESS', 'DELETING')`),
    oneOf("image_versions_state", table.state, versionStates),
    oneOf("image_versions_status", table.status, versionStatuses),
    oneOf("image_versions_cause", table.cause, causes),
  ],
)

export const imageBuilds = pgTable(
  "image_builds",
  {
    id: uuid("id").primaryKey(),
    imageVersionId: uuid("image_version_id")
      .notNull()
      .references(() => imageVersions.id, { onDelete: "cascade" }),
    vmId: uuid("vm_id").references(() => vms.id),
    state: text("state", { enum: buildStates }).notNull(),
    stateReason: text("state_reason"),
    architecture: text("architecture").notNull(),
    memoryBytes: bigint("memory_bytes", { mode: "number" }),
    codeBytes: bigint("code_bytes", { mode: "number" }),
    diskBytes: bigint("disk_bytes", { mode: "number" }),
    createdAt: at("created_at").notNull().defaultNow(),
    finishedAt: at("finished_at"),
  },
  (table) => [
    index("image_builds_of_version").on(table.imageVersionId),
    // A VM's row goes when no build names it: that is looked up for each.
    index("image_builds_of_vm").on(table.vmId),
    oneOf("image_builds_state", table.state, buildStates),
  ],
)

/** Memory, devices and disk of a version, taken once: files under `bases/<id>` of this host's data directory, never changed again. */
export const bases = pgTable("bases", {
  id: uuid("id").primaryKey(),
  hostId: uuid("host_id")
    .notNull()
    .references(() => hosts.id),
  architecture: text("architecture").notNull(),
  memoryMiB: integer("memory_mib").notNull(),
  vcpus: integer("vcpus").notNull(),
  /** The disks it was taken with, as places (`cache:…`, `data:…`); the root disk bottom first. */
  systemDisk: text("system_disk").notNull(),
  rootDisk: jsonb("root_disk").notNull().$type<string[]>(),
  createdAt: at("created_at").notNull().defaultNow(),
})

/**
 * One sealed build step each, an overlay on exactly one parent's file: an equal step on another file is another disk, since overlays are
 * blocks and not files. Kept per account, so nobody's cache answers for another's.
 */
export const layers = pgTable(
  "layers",
  {
    hostId: uuid("host_id")
      .notNull()
      .references(() => hosts.id),
    account: text("account").notNull(),
    hash: text("hash").notNull(),
    /** Below `layers/` of the host's data directory. */
    file: text("file").notNull(),
    /** The layer's below; null above the managed image. */
    parentFile: text("parent_file"),
    bytes: bigint("bytes", { mode: "number" }).notNull(),
    createdAt: at("created_at").notNull().defaultNow(),
    usedAt: at("used_at").notNull().defaultNow(),
  },
  (table) => [primaryKey({ columns: [table.hostId, table.account, table.hash] })],
)

/** A virtual machine on a host, whatever it is for. The process columns are null while there is none. */
export const vms = pgTable(
  "vms",
  {
    id: uuid("id").primaryKey(),
    hostId: uuid("host_id")
      .notNull()
      .references(() => hosts.id),
    kind: text("kind", { enum: vmKinds }).notNull(),
    /** Grows at every launch and resume. */
    incarnation: integer("incarnation").notNull().default(0),
    baseId: uuid("base_id").references(() => bases.id),
    memoryMiB: integer("memory_mib").notNull(),
    vcpus: integer("vcpus").notNull(),
    slot: integer("slot"),
    /** Its own, but for one that was started before its VM was known. */
    processId: uuid("process_id"),
    pid: integer("pid"),
    processStartTime: bigint("process_start_time", { mode: "number" }),
    /** `disk/<generation>.qcow2` is the overlay that is written. */
    diskGeneration: integer("disk_generation").notNull().default(0),
    /** The incarnation whose memory the delta on disk holds. */
    snapshotIncarnation: integer("snapshot_incarnation"),
    /** `consumed` is written before the `cont` of a wake: from there on the delta is older than the disk and is never loaded again. */
    snapshot: text("snapshot", { enum: snapshotStates }).notNull().default("none"),
    createdAt: at("created_at").notNull().defaultNow(),
    endedAt: at("ended_at"),
  },
  (table) => [
    index("vms_live")
      .on(table.hostId)
      .where(sql`${table.endedAt} is null`),
    oneOf("vms_kind", table.kind, vmKinds),
    oneOf("vms_snapshot", table.snapshot, snapshotStates),
  ],
)

export const microvms = pgTable(
  "microvms",
  {
    id: uuid("id").primaryKey(),
    vmId: uuid("vm_id")
      .notNull()
      .references(() => vms.id),
    account: text("account").notNull(),
    region: text("region").notNull(),
    /** Null once the image, or the version, was deleted: a MicroVM stands on its base. */
    imageId: uuid("image_id").references(() => images.id, { onDelete: "set null" }),
    imageName: text("image_name").notNull(),
    imageVersionId: uuid("image_version_id").references(() => imageVersions.id, { onDelete: "set null" }),
    imageVersion: text("image_version").notNull(),
    /** The first label of the endpoint's name. */
    endpointId: uuid("endpoint_id").notNull(),
    state: text("state", { enum: lifeStates }).notNull(),
    stateReason: text("state_reason"),
    cause: text("cause", { enum: causes }).notNull().$type<Cause>(),
    idlePolicy: jsonb("idle_policy").$type<IdlePolicy>(),
    maximumDurationSeconds: integer("maximum_duration_seconds").notNull(),
    executionRoleArn: text("execution_role_arn"),
    ingressConnectors: jsonb("ingress_connectors").notNull().$type<string[]>(),
    egressConnectors: jsonb("egress_connectors").notNull().$type<string[]>(),
    logging: jsonb("logging").$type<LoggingTarget>(),
    startedAt: at("started_at").notNull(),
    /** Absolute; nothing extends it. */
    deadlineAt: at("deadline_at").notNull(),
    suspendedAt: at("suspended_at"),
    terminatedAt: at("terminated_at"),
    ...owned,
  },
  (table) => [
    unique("microvms_by_endpoint").on(table.endpointId),
    index("microvms_live")
      .on(table.hostId)
      .where(sql`${table.state} <> 'TERMINATED'`),
    index("microvms_over")
      .on(table.hostId, table.terminatedAt)
      .where(sql`${table.state} = 'TERMINATED'`),
    index("microvms_newest").on(table.account, table.region, table.startedAt.desc(), table.id.desc()),
    index("microvms_of_image").on(table.imageId),
    index("microvms_of_version").on(table.imageVersionId),
    index("microvms_of_vm").on(table.vmId),
    oneOf("microvms_state", table.state, lifeStates),
    oneOf("microvms_cause", table.cause, causes),
    check("microvms_duration", sql`${table.maximumDurationSeconds} > 0`),
  ],
)

/** A `clientToken` answers for as long as what it made is there: the same request gets the same resource, another request a conflict. */
export const clientTokens = pgTable(
  "client_tokens",
  {
    account: text("account").notNull(),
    region: text("region").notNull(),
    operation: text("operation").notNull(),
    token: text("token").notNull(),
    requestHash: text("request_hash").notNull(),
    resourceId: uuid("resource_id").notNull(),
    createdAt: at("created_at").notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.account, table.region, table.operation, table.token] }),
    index("client_tokens_of_resource").on(table.resourceId),
  ],
)

/** What happened, by whom and why; written in the transaction of the change itself. Never updated; the oldest are removed. */
export const audit = pgTable(
  "audit",
  {
    id: bigserial("id", { mode: "number" }).primaryKey(),
    at: at("at").notNull().defaultNow(),
    account: text("account").notNull(),
    region: text("region").notNull(),
    /** The resource's ARN. */
    resource: text("resource").notNull(),
    action: text("action").notNull(),
    cause: text("cause", { enum: causes }).notNull().$type<Cause>(),
    /** The access key that asked, when somebody did. */
    actor: text("actor"),
    requestId: text("request_id"),
    details: jsonb("details").notNull().default({}).$type<Record<string, unknown>>(),
  },
  (table) => [index("audit_of_resource").on(table.resource, table.id), oneOf("audit_cause", table.cause, causes)],
)

/** Events on their way out (webhooks read it); a row is deleted when it is delivered to all. */
export const outbox = pgTable("outbox", {
  id: bigserial("id", { mode: "number" }).primaryKey(),
  at: at("at").notNull().defaultNow(),
  account: text("account").notNull(),
  resource: text("resource").notNull(),
  type: text("type").notNull(),
  payload: jsonb("payload").notNull().$type<Record<string, unknown>>(),
})
