/**
 * Logs: lines of text by the id of what said them (a VM, a build), in Postgres, so that they outlive it and any daemon can read them.
 * Each is in a stream of a group, which are names that clients read by; logs of one name are one stream to them.
 *
 * A stranger makes logs grow. So each has a limit, and loses its oldest lines when it is more; a build's loses its middle, since its
 * beginning and its end tell most. A group has a limit, and all of a host's together, and the oldest goes; and nothing is kept longer than
 * its time. Limits are of bytes as stored, of which every line costs some 70 beside its text: they bound lines too.
 *
 * A log is kept if it was created. What is written to one that wasn't goes nowhere.
 */
import { EventEmitter } from "node:events"
import { and, eq, isNull, sql } from "drizzle-orm"
import type { PostgresJsDatabase } from "drizzle-orm/postgres-js"
import { logs } from "../db/logs.ts"
import type { Log } from "../log.ts"
import { createLogArchive, type LogArchive } from "./archive.ts"
import type { Subscribe } from "./follow.ts"
import { createLog } from "./groups.ts"
import type { LogAddress } from "./names.ts"
import { createLogReader, type LogReader, type OnChange } from "./reader.ts"
import { createRetention } from "./retention.ts"
import { createLogWriter, type LogWriter } from "./writer.ts"

export type LogDatabase = Pick<PostgresJsDatabase, "select" | "insert" | "update" | "delete" | "execute">

export interface LogLimits {
  readonly bytesPerLog: number
  readonly bytesPerGroup: number
  readonly bytesPerHost: number
  readonly days: number
}

export interface LogsOptions {
  readonly db: LogDatabase
  readonly hostId: string
  readonly limits: LogLimits
  readonly log: Log
}

/** What is left of a log that was too long. */
export type Kept = "end" | "both ends"

export interface Logs extends AsyncDisposable {
  /** Begins a log, and its group when it is the first there, in the caller's transaction. */
  create(db: LogDatabase, id: string, address: LogAddress): Promise<void>
  /** One at a time for each log; the caller closes it. What it loses when it is too long is its oldest lines, unless it `keeps` both ends. */
  writer(id: string, keeps?: Kept): LogWriter
  reader(id: string): LogReader
  /** All of them, by group and stream. */
  readonly archive: LogArchive
  /** Has what is too old or too much removed, now and every hour; until then only what is written makes it look. */
  beginRetention(): void
  /** Nothing will be written to it any more: who follows it is at its end. Idempotent. */
  end(id: string): Promise<void>
}

/** The logs of this host; the caller disposes them, and what is pending is written then. */
export const createLogs = (options: LogsOptions): Logs => {
  const { db, hostId } = options
  const writers = new Set<LogWriter>()
  const retention = createRetention(options)
  /** Emits the id of a log that has changed. */
  const changes = new EventEmitter().setMaxListeners(0)
  const listeners = new Set<(id: string) => void>()
  const announce = (id: string) => {
    for (const listener of listeners) listener(id)
    changes.emit(id)
  }
  const onChange: OnChange = (id, listener) => {
    changes.on(id, listener)
    return () => void changes.off(id, listener)
  }

  const subscribe: Subscribe = (onWritten) => {
    // Its own function: the same one may be subscribed twice.
    const listener = (id: string) => onWritten(id)
    listeners.add(listener)
    return () => void listeners.delete(listener)
  }

  return {
    archive: createLogArchive(db, options.limits.days, subscribe),
    create: (tx, id, address) => createLog(tx, { id, hostId, address }),
    writer(id, keeps = "end") {
      const writer = createLogWriter({ id, keeps }, options, {
        written(groupId, bytes) {
          announce(id)
          retention.note(groupId, bytes)
        },
        closed: () => writers.delete(writer),
      })
      writers.add(writer)
      return writer
    },
    reader: (id) => createLogReader(db, id, onChange),
    beginRetention: () => retention.begin(),
    async end(id) {
      await db
        .update(logs)
        .set({ endedAt: sql`now()` })
        .where(and(eq(logs.id, id), isNull(logs.endedAt)))
      announce(id)
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...writers].map((writer) => writer.close()))
      await retention.stop()
    },
  }
}
