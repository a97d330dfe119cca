/**
 * What brings a version from `Pending` to `Active`, and an update from `InProgress` to `Successful`: its code is read back from the
 * store and compared with its hash, and all that its environments stand on is made. Rows say what is unsettled, so what a death
 * interrupts is begun again at the next start.
 */
import { randomUUID } from "node:crypto"
import { and, eq, or } from "drizzle-orm"
import { functionCodes, functionVersions } from "../../../src/db/functions.ts"
import type { Log } from "../../../src/log.ts"
import { createTurns } from "../../building/turns.ts"
import type { Database } from "../../vm-row.ts"
import type { FunctionChanges } from "../changes.ts"
import { zipsOf } from "../definitions.ts"
import { attachedLayers } from "../layers/attached-layers.ts"
import type { VersionRow } from "../rows.ts"
import type { CodeStore } from "./code-store.ts"
import { NotReady, type Readiness } from "./readiness.ts"
import { forgetServed } from "./served.ts"
import { removeUnused } from "./unused-code.ts"

export interface Settling extends AsyncDisposable {
  /** Settles a version that was stored; returns at once. */
  begin(versionId: string): void
  /** Begins with everything of this host that is unsettled. */
  resume(): Promise<void>
  /** Resolves when nothing is at work. */
  settled(): Promise<void>
}

export interface SettlingOptions {
  readonly db: Database & { transaction<T>(work: (tx: Database) => Promise<T>): Promise<T> }
  readonly hostId: string
  readonly codes: CodeStore
  readonly readiness: Readiness
  readonly changes: Pick<FunctionChanges, "tell">
  readonly log: Log
  readonly signal: AbortSignal
}

/** Reading zips of 250 MB all at once would take the disk from everybody else. */
const READ_AT_ONCE = 4

/** Settles versions; what is made for one holds up no other. Disposing waits for those at work, which `signal` aborts. */
export const createSettling = ({ db, hostId, codes, readiness, changes, log, signal }: SettlingOptions): Settling => {
  const atWork = new Set<Promise<void>>()
  const turns = createTurns(READ_AT_ONCE)

  const verify = async (sha256: string) => {
    const leave = await turns.take(signal)
    try {
      await codes.verify(sha256, signal)
    } finally {
      leave()
    }
  }

  /** `null`, or why no environment can be made of the version. */
  const tryOut = async (
    { id, number, codeId, settings }: VersionRow,
    sha256: string,
  ): Promise<VersionRow["failure"]> => {
    try {
      await verify(sha256)
    } catch (error) {
      signal.throwIfAborted()
      log.error({ err: error, version: id }, "A function's code cannot be read")
      return { code: "InternalError", reason: "The function's code cannot be read." }
    }
    try {
      const zips = await zipsOf(db, codeId, await attachedLayers(db, id))
      // It is gone: nobody will hear.
      const optimised = number > 0 && settings.snapStart === true ? { optimised: id } : {}
      if (zips !== undefined) await readiness.prepare({ ...zips, settings, ...optimised }, signal)
      return null
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof NotReady) return { code: error.code, reason: error.message }
      log.error({ err: error, version: id }, "A function's disks or runtime could not be made")
      return { code: "InternalError", reason: "The function's execution environment could not be prepared." }
    }
  }

  const settle = async (versionId: string) => {
    const [found] = await db
      .select({ version: functionVersions, sha256: functionCodes.sha256 })
      .from(functionVersions)
      .innerJoin(functionCodes, eq(functionCodes.id, functionVersions.codeId))
      .where(eq(functionVersions.id, versionId))
    if (found === undefined) return
    const { version } = found
    const failure = await tryOut(version, found.sha256)
    const released = await db.transaction(async (tx) => {
      const settled = await tx
        .update(functionVersions)
        .set({
          // An update that failed leaves what there was.
          state: failure === null ? "Active" : version.state === "Pending" ? "Failed" : version.state,
          updateState: failure === null ? "Successful" : "Failed",
          failure,
          revisionId: randomUUID(),
        })
        // Whatever has changed meanwhile is settled by its own turn.
        .where(and(eq(functionVersions.id, versionId), eq(functionVersions.revisionId, version.revisionId)))
        .returning({ id: functionVersions.id })
      return failure === null && settled.length > 0 ? forgetServed(tx, versionId) : undefined
    })
    changes.tell(version.functionId)
    if (released !== undefined) await removeUnused({ db, codes, readiness, log }, released)
  }

  const begin = (versionId: string) => {
    const work = settle(versionId).catch((error: unknown) => {
      if (!signal.aborted) log.error({ err: error, version: versionId }, "A function could not be settled")
    })
    atWork.add(work)
    void work.then(() => atWork.delete(work))
  }
  const settled = async () => {
    while (atWork.size > 0) await Promise.all(atWork)
  }

  return {
    begin,
    settled,
    async resume() {
      const rows = await db
        .select({ id: functionVersions.id })
        .from(functionVersions)
        .innerJoin(functionCodes, eq(functionCodes.id, functionVersions.codeId))
        .where(
          and(
            eq(functionCodes.hostId, hostId),
            or(eq(functionVersions.state, "Pending"), eq(functionVersions.updateState, "InProgress")),
          ),
        )
      for (const { id } of rows) begin(id)
    },
    [Symbol.asyncDispose]: settled,
  }
}
