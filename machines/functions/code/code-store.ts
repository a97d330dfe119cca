/**
 * Every zip once, by its hash, in an account of the store that no caller has a key of. A row says that it is there; whoever keeps or
 * forgets a zip holds that row's lock until the file is there, or gone.
 */
import { createHash, randomUUID } from "node:crypto"
import { createReadStream } from "node:fs"
import type { FileHandle } from "node:fs/promises"
import { and, eq, sql } from "drizzle-orm"
import { functionServed } from "../../../src/db/function-served.ts"
import { functionLayerVersions } from "../../../src/db/function-layers.ts"
import { functionCodes, functionVersions } from "../../../src/db/functions.ts"
import { ServiceError } from "../../../src/errors.ts"
import type { ArtifactStore } from "../../../src/store/artifact-store.ts"
import type { Database } from "../../vm-row.ts"
import { codeStorageExceeded } from "../refusals.ts"
import type { CheckedCode } from "./code-source.ts"

/** Where in the store the zips are. */
export const CODE_PLACE = { account: "torpor-functions", bucket: "code" } as const

/** The zip's file; the caller closes it. */
export const openZip = async (store: Pick<ArtifactStore, "open">, sha256: string): Promise<FileHandle> => {
  const { file } = await store.open(CODE_PLACE.account, CODE_PLACE.bucket, keyOf(sha256))
  return file
}

const keyOf = (sha256: string) => `${Buffer.from(sha256, "base64").toString("hex")}.zip`

type Transactions = Database & { transaction<T>(work: (tx: Database) => Promise<T>): Promise<T> }

export interface CodeStore {
  /** Puts the zip where it is kept, in the transaction that makes its first or next version; answers the row's id. */
  keep(tx: Database, code: CheckedCode, signal: AbortSignal): Promise<string>
  /** Removes the zip if no version has it any more. */
  forget(codeId: string): Promise<void>
  /** Reads the zip that is kept and throws unless it is whole. */
  verify(sha256: string, signal: AbortSignal): Promise<void>
  /** The key of a zip, in {@link CODE_PLACE}. */
  keyOf(sha256: string): string
}

/** Opens the zips of this host, and removes what a death left behind that no row knows. */
export const openCodeStore = async (db: Transactions, store: ArtifactStore, hostId: string): Promise<CodeStore> => {
  const { account, bucket } = CODE_PLACE
  if (!store.buckets(account).some(({ name }) => name === bucket)) await store.createBucket(account, bucket)
  const isThere = (key: string) => store.bucket(account, bucket).objects.has(key)
  const known = await db
    .select({ sha256: functionCodes.sha256 })
    .from(functionCodes)
    .where(eq(functionCodes.hostId, hostId))
  const keys = new Set(known.map(({ sha256 }) => keyOf(sha256)))
  for (const key of store.bucket(account, bucket).sortedKeys())
    if (!keys.has(key)) await store.delete(account, bucket, key)

  return {
    keyOf,
    async keep(tx, { path, sha256, bytes, unpackedBytes }, signal) {
      const [row] = await tx
        .insert(functionCodes)
        .values({ id: randomUUID(), hostId, sha256, bytes, unpackedBytes })
        .onConflictDoUpdate({ target: [functionCodes.hostId, functionCodes.sha256], set: { bytes } })
        .returning({ id: functionCodes.id })
      if (row === undefined) throw new Error("The code's row was not returned")
      const expected = () => ({ md5: undefined, checksum: undefined })
      if (!isThere(keyOf(sha256)))
        await store
          .put(
            account,
            bucket,
            keyOf(sha256),
            createReadStream(path, { highWaterMark: 1024 * 1024 }),
            { headers: { "content-type": "application/zip" }, algorithm: undefined, expected, ifAbsent: false },
            signal,
          )
          .catch((error: unknown) => {
            // The store's account is nobody's who asks: what all have is too much, whichever their own limits are.
            if (error instanceof ServiceError && error.code === "QuotaExceeded")
              throw codeStorageExceeded("Code storage limit of this host exceeded.")
            throw error
          })
      return row.id
    },
    forget: (codeId) =>
      db.transaction(async (tx) => {
        const [row] = await tx
          .select()
          .from(functionCodes)
          .where(and(eq(functionCodes.id, codeId), eq(functionCodes.hostId, hostId)))
          .for("update")
        if (row === undefined || (await references(tx, codeId)) > 0) return
        await tx.delete(functionCodes).where(eq(functionCodes.id, codeId))
        await store.delete(account, bucket, keyOf(row.sha256))
      }),
    async verify(sha256, signal) {
      const file = await openZip(store, sha256)
      const hash = createHash("sha256")
      for await (const piece of file.createReadStream({ highWaterMark: 1024 * 1024, signal }))
        hash.update(piece as Buffer)
      if (hash.digest("base64") !== sha256) throw new Error(`The code ${sha256} is damaged in the store`)
    },
  }
}

/** How many versions of functions and layers have the code, and how many are served by it. */
const references = async (tx: Database, codeId: string): Promise<number> => {
  const count = sql<number>`count(*)::int`
  const [byVersions] = await tx.select({ count }).from(functionVersions).where(eq(functionVersions.codeId, codeId))
  const [byLayers] = await tx
    .select({ count })
    .from(functionLayerVersions)
    .where(eq(functionLayerVersions.codeId, codeId))
  const [byServed] = await tx.select({ count }).from(functionServed).where(eq(functionServed.codeId, codeId))
  return (byVersions?.count ?? 0) + (byLayers?.count ?? 0) + (byServed?.count ?? 0)
}
