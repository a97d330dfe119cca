/** Logs: groups of them, which clients read by name, and their lines in chunks. */
import { index, integer, pgTable, primaryKey, text, timestamp, unique, uuid } from "drizzle-orm/pg-core"
import { at } from "./columns.ts"
import { hosts } from "./schema.ts"

/** Logs of one kind, by the name that a client reads them by; there as soon as the first of them is. */
export const logGroups = pgTable(
  "log_groups",
  {
    id: uuid("id").primaryKey().defaultRandom(),
    account: text("account").notNull(),
    region: text("region").notNull(),
    name: text("name").notNull(),
    createdAt: at("created_at").notNull().defaultNow(),
  },
  (table) => [unique("log_groups_by_name").on(table.account, table.region, table.name)],
)

/**
 * What a VM's application or a build said, by its id. It is kept if there is a row, which the request that begins it decides.
 * Logs of a group with the same stream are read as one.
 */
export const logs = pgTable(
  "logs",
  {
    id: uuid("id").primaryKey(),
    hostId: uuid("host_id")
      .notNull()
      .references(() => hosts.id),
    groupId: uuid("group_id")
      .notNull()
      .references(() => logGroups.id),
    stream: text("stream").notNull(),
    createdAt: at("created_at").notNull().defaultNow(),
    /** Nothing comes any more. */
    endedAt: at("ended_at"),
  },
  (table) => [
    index("logs_of_host").on(table.hostId, table.endedAt),
    index("logs_of_stream").on(table.groupId, table.stream),
  ],
)

/** Lines of a log, as they are sent: one JSON object each. Their numbers may have gaps, where something is not kept. */
export const logChunks = pgTable(
  "log_chunks",
  {
    logId: uuid("log_id")
      .notNull()
      .references(() => logs.id, { onDelete: "cascade" }),
    /** Its log's, so that what a group said in an hour is found without a look at every log of it. */
    groupId: uuid("group_id").notNull(),
    firstLine: integer("first_line").notNull(),
    lines: integer("lines").notNull(),
    /** What it counts for. */
    bytes: integer("bytes").notNull(),
    /** The first line's time, and the last one's; a log's never go back. To the millisecond, as who reads on from one has it. */
    at: timestamp("at", { withTimezone: true, mode: "date", precision: 3 }).notNull(),
    lastAt: timestamp("last_at", { withTimezone: true, mode: "date", precision: 3 }).notNull(),
    storedAt: at("stored_at").notNull().defaultNow(),
    entries: text("entries").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.logId, table.firstLine] }),
    index("log_chunks_of_group").on(table.groupId, table.at, table.logId, table.firstLine),
    index("log_chunks_of_group_newest").on(table.groupId, table.lastAt, table.logId, table.firstLine),
  ],
)
