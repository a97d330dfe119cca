/** Who this host is, who may call, and with what tokens are signed. */
import { desc, eq, inArray, isNull, sql } from "drizzle-orm"
import type { PostgresJsDatabase } from "drizzle-orm/postgres-js"
import type { Secrets } from "../secrets.ts"
import { writeAudit, type Asker } from "./audit.ts"
import { accessKeys, hosts, signingKeys } from "./schema.ts"

/** Notes that this host is here. */
export const registerHost = async (db: PostgresJsDatabase, id: string, name: string): Promise<void> => {
  await db
    .insert(hosts)
    .values({ id, name })
    .onConflictDoUpdate({ target: hosts.id, set: { name, seenAt: sql`now()` } })
}

/** Access keys, their secrets sealed. */
export const createAccessKeys = (db: PostgresJsDatabase, secrets: Secrets) => ({
  async find(accessKeyId: string): Promise<{ account: string; secret: string } | undefined> {
    const [row] = await db.select().from(accessKeys).where(eq(accessKeys.accessKeyId, accessKeyId))
    return row === undefined ? undefined : { account: row.account, secret: secrets.open(row.sealedSecret) }
  },
  async put(
    { accessKeyId, secretAccessKey }: { accessKeyId: string; secretAccessKey: string },
    account: string,
  ): Promise<void> {
    const sealedSecret = secrets.seal(secretAccessKey)
    await db
      .insert(accessKeys)
      .values({ accessKeyId, account, sealedSecret })
      .onConflictDoUpdate({ target: accessKeys.accessKeyId, set: { account, sealedSecret } })
  },
})

interface SigningKey {
  readonly kid: string
  readonly createdAt: Date
  readonly publicJwk: object
  readonly privateJwk: object
}

/** The keys that tokens are signed and verified with, newest first; private halves sealed. */
export const createKeyStore = (db: PostgresJsDatabase, secrets: Secrets) => ({
  async load(): Promise<SigningKey[]> {
    const rows = await db
      .select()
      .from(signingKeys)
      .where(isNull(signingKeys.retiredAt))
      .orderBy(desc(signingKeys.createdAt))
    return rows.map(({ kid, createdAt, publicJwk, sealedPrivateJwk }) => ({
      kid,
      createdAt,
      publicJwk,
      privateJwk: JSON.parse(secrets.open(sealedPrivateJwk)) as object,
    }))
  },
  async insert(
    { kid, createdAt, publicJwk, privateJwk }: SigningKey,
    by?: Asker & { readonly account: string; readonly region: string },
  ): Promise<void> {
    const sealedPrivateJwk = secrets.seal(JSON.stringify(privateJwk))
    await db.transaction(async (tx) => {
      await tx.insert(signingKeys).values({ kid, createdAt, publicJwk: { ...publicJwk }, sealedPrivateJwk })
      if (by === undefined) return
      const resource = `arn:aws:torpor:::signing-key/${kid}`
      await writeAudit(tx, { scope: by, resource, type: "signing-key.created", cause: "api", by })
    })
  },
  async remove(kids: readonly string[]): Promise<void> {
    await db.delete(signingKeys).where(inArray(signingKeys.kid, [...kids]))
  },
})
