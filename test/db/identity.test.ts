import { randomBytes, randomUUID } from "node:crypto"
import { eq } from "drizzle-orm"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { createAccessKeys, createKeyStore, registerHost } from "../../src/db/identity.ts"
import { accessKeys, audit, hosts, signingKeys } from "../../src/db/schema.ts"
import { createSecrets } from "../../src/secrets.ts"
import { openTokenKeys } from "../../src/tokens/keys.ts"
import { openTestDatabase, type TestDatabase } from "./database.ts"

const secrets = createSecrets(randomBytes(32))
const strangers = createSecrets(randomBytes(32))
let database: TestDatabase

beforeAll(async () => {
  database = await openTestDatabase()
})
afterAll(() => database?.[Symbol.asyncDispose]())

test("A host is noted once, under its newest name, and seen again", async () => {
  const { db } = database
  const id = randomUUID()
  await registerHost(db, id, "before")
  await db
    .update(hosts)
    .set({ seenAt: new Date(Date.now() - 1000) })
    .where(eq(hosts.id, id))
  const [first] = await db.select().from(hosts).where(eq(hosts.id, id))
  await registerHost(db, id, "after")
  const rows = await db.select().from(hosts).where(eq(hosts.id, id))
  expect(rows).toEqual([{ ...first, name: "after", seenAt: expect.any(Date) }])
  expect(rows[0]?.seenAt.getTime()).toBeGreaterThan(first?.seenAt.getTime() ?? Infinity)
})

describe("An access key", () => {
  test("is found with its account and secret, and is nothing to be read in the database", async () => {
    const keys = createAccessKeys(database.db, secrets)
    await keys.put({ accessKeyId: "AKIAONE", secretAccessKey: "the secret of one" }, "000000000000")
    expect(await keys.find("AKIAONE")).toEqual({ account: "000000000000", secret: "the secret of one" })
    const [row] = await database.db.select().from(accessKeys).where(eq(accessKeys.accessKeyId, "AKIAONE"))
    expect(row?.sealedSecret.includes("secret")).toBe(false)
  })

  test("that nobody put there is not found, whatever its name", async () => {
    const keys = createAccessKeys(database.db, secrets)
    for (const name of ["AKIANONE", "", "akiaone", "AKIAONE' or 'a'='a", "%"])
      expect(await keys.find(name)).toBeUndefined()
  })

  test("that is put again has the new secret alone", async () => {
    const keys = createAccessKeys(database.db, secrets)
    for (const secretAccessKey of ["old", "new"])
      await keys.put({ accessKeyId: "AKIATWO", secretAccessKey }, "000000000000")
    expect(await keys.find("AKIATWO")).toEqual({ account: "000000000000", secret: "new" })
  })

  test("under another key file is refused in words, not handed out as noise", async () => {
    await createAccessKeys(database.db, secrets).put({ accessKeyId: "AKIATHREE", secretAccessKey: "s" }, "000000000000")
    await expect(createAccessKeys(database.db, strangers).find("AKIATHREE")).rejects.toThrow(/another key/)
  })
})

describe("A signing key", () => {
  test("is made once, found by every start, and its private half is nothing to be read in the database", async () => {
    const store = createKeyStore(database.db, secrets)
    const first = await openTokenKeys(store)
    const second = await openTokenKeys(store)
    expect((await second.signing()).kid).toBe((await first.signing()).kid)
    const [stored] = await store.load()
    const [row] = await database.db.select().from(signingKeys)
    expect(JSON.stringify(row?.publicJwk)).not.toContain('"d"')
    const { d = "" } = { ...stored?.privateJwk } as { d?: string }
    expect(d).toHaveLength(43)
    expect(row?.sealedPrivateJwk.includes(d)).toBe(false)
    await expect(createKeyStore(database.db, strangers).load()).rejects.toThrow(/another key/)
  })

  test("that is newer signs, and one that was retired or removed does nothing any more", async () => {
    const store = createKeyStore(database.db, secrets)
    const [old] = await store.load()
    const by = { account: "000000000000", region: "us-east-1", accessKeyId: "AKIAONE", requestId: "request" }
    const kid = await (await openTokenKeys(store)).rotate(by)
    const { accessKeyId: actor, ...asked } = by
    const [said] = await database.db.select().from(audit)
    expect(said).toMatchObject({
      ...asked,
      actor,
      action: "signing-key.created",
      resource: `arn:aws:torpor:::signing-key/${kid}`,
      details: {},
    })
    const keys = await openTokenKeys(store)
    expect((await keys.jwks()).keys.map((key) => key.kid)).toEqual([kid, old?.kid])
    expect((await keys.signing()).kid).toBe(kid)
    await database.db
      .update(signingKeys)
      .set({ retiredAt: new Date() })
      .where(eq(signingKeys.kid, old?.kid ?? ""))
    expect((await (await openTokenKeys(store)).jwks()).keys.map((key) => key.kid)).toEqual([kid])
    await store.remove([kid])
    expect(await store.load()).toEqual([])
  })
})
