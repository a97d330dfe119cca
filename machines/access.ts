/** Who was let into MicroVMs, for the audit log: that a token or a link was made, and what for, not what it says. */
import { LRUCache } from "lru-cache"
import { writeAudit } from "../src/db/audit.ts"
import { microvmArn } from "./arn.ts"
import type { Access, Caller } from "./resources.ts"
import type { Database } from "./vm-row.ts"

/** Callers make tokens as often as they like, for each of their requests even: one row speaks for all that are alike within this time. */
const ONE_ROW_MS = 60_000
const MAX_KNOWN = 10_000

const toText = ({ from, to }: Access["ports"][number]) => (from === to ? String(from) : `${from}-${to}`)

export type AccessRecord = (id: string, access: Access, caller: Caller) => Promise<void>

/** Writes `microvm.token-created` and `microvm.link-created` rows; resolves when there is one that speaks for this access. */
export const createAccessRecord = (db: Database): AccessRecord => {
  const written = new LRUCache<string, true>({ max: MAX_KNOWN, ttl: ONE_ROW_MS })
  return async (id, { kind, ports, expirationSeconds }, caller) => {
    const details = { ports: ports.map(toText).join(", "), expirationSeconds }
    const likeness = JSON.stringify([id, kind, details, caller.accessKeyId])
    if (written.has(likeness)) return
    await writeAudit(db, {
      scope: caller,
      resource: microvmArn(caller, id),
      type: `microvm.${kind}-created`,
      cause: "api",
      by: caller,
      details,
    })
    written.set(likeness, true)
  }
}
