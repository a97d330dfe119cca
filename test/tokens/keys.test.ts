import { createLocalJWKSet, jwtVerify } from "jose"
import { beforeEach, describe, expect, test } from "vitest"
import { openTokenKeys, type KeyStore, type TokenKeys } from "../../src/tokens/keys.ts"
import { createTokens, type Tokens } from "../../src/tokens/tokens.ts"
import { createMemoryKeyStore, type MemoryKeyStore } from "./memory-key-store.ts"

const VM = "11111111-1111-4111-8111-111111111111"
const WEB = [{ from: 8080, to: 8080 }]
const START = Date.UTC(2026, 0, 1)
const [MINUTE, DAY] = [60_000, 24 * 3_600_000]
let now: number
let store: MemoryKeyStore
let keys: TokenKeys
let tokens: Tokens

const clock = () => now
/** A daemon of its own on the same store. */
const openDaemon = async (on: KeyStore = store) => {
  const opened = await openTokenKeys(on, clock)
  return { keys: opened, tokens: createTokens(opened, clock) }
}
const mint = (by: Tokens = tokens, expirationSeconds = 3600) => by.mint({ vmId: VM, ports: WEB, expirationSeconds })
const kidOf = (token: string) =>
  (JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()) as { kid: string }).kid
const shown = async (by: TokenKeys = keys) => (await by.jwks()).keys.map(({ kid }) => kid)

beforeEach(async () => {
  now = START
  store = createMemoryKeyStore()
  ;({ keys, tokens } = await openDaemon())
})

test("A first key is made once, and kept", async () => {
  const [kid] = await shown()
  const second = await openDaemon()
  expect(await shown(second.keys)).toEqual([kid])
  expect(kidOf(await mint(second.tokens))).toBe(kid)
})

test("A store that keeps nothing is an error, not a key for one start", async () => {
  const nothing = { load: async () => [], insert: async () => {}, remove: async () => {} }
  await expect(openTokenKeys(nothing)).rejects.toThrow("was not kept")
})

test("Whoever has the published document can verify, and cannot sign", async () => {
  const before = await mint()
  await keys.rotate()
  const jwks = await keys.jwks()
  for (const token of [before, await mint()]) {
    const { payload } = await jwtVerify(token, createLocalJWKSet(jwks), { currentDate: new Date(now) })
    expect(payload.sub).toBe(VM)
  }
  for (const key of jwks.keys) {
    expect(Object.keys(key).toSorted((a, b) => a.localeCompare(b))).toEqual(["alg", "crv", "kid", "kty", "use", "x"])
    expect(key).toMatchObject({ alg: "EdDSA", use: "sig", kty: "OKP", crv: "Ed25519" })
  }
})

describe("A rotation", () => {
  test("has the new key sign at once, and every live token stay good to its end", async () => {
    const before = await mint()
    const kid = await keys.rotate()
    const after = await mint()
    expect([kidOf(before) === kid, kidOf(after)]).toEqual([false, kid])
    const restarted = (await openDaemon()).tokens
    for (const by of [tokens, restarted])
      for (const token of [before, after]) expect(await by.verify(token)).toMatchObject({ vmId: VM })
    now += 3599_000
    const { tokens: late } = await openDaemon()
    for (const token of [before, after]) expect(await late.verify(token)).toMatchObject({ vmId: VM })
  })

  test("shows the old key as long as a token under it can live, and forgets it then", async () => {
    const [old] = await shown()
    const kid = await keys.rotate()
    now += 61 * MINUTE
    expect(await shown()).toEqual([kid, old])
    now += 10 * MINUTE
    expect(await shown()).toEqual([kid])
    expect((await store.load()).map((key) => key.kid)).toEqual([kid])
  })

  test("is refused while too many old keys are in use, and none of them is lost for it", async () => {
    const made = []
    for (let times = 0; times < 7; times++) made.unshift(await keys.rotate(), await mint())
    await expect(keys.rotate()).rejects.toMatchObject({ code: "ConflictException", status: 409 })
    expect(await shown()).toHaveLength(8)
    for (const token of made.filter((text) => text.includes(".")))
      expect(await tokens.verify(token)).toBeTypeOf("object")
    now += 70 * MINUTE
    await keys.rotate()
    expect(await shown()).toHaveLength(2)
  })

  test("comes by age: whoever signs with a key of 30 days makes the next", async () => {
    const [old] = await shown()
    now += 30 * DAY - 2
    const before = await mint()
    expect(kidOf(before)).toBe(old)
    now += MINUTE
    const after = await mint()
    expect(kidOf(after)).not.toBe(old)
    expect(await tokens.verify(before)).toMatchObject({ vmId: VM })
    expect(await shown()).toEqual([kidOf(after), old])
  })
})

describe("A daemon beside the one that rotated", () => {
  test("verifies what is signed with the new key as soon as it sees it", async () => {
    const beside = await openDaemon()
    now += MINUTE
    await keys.rotate()
    expect(await beside.tokens.verify(await mint())).toMatchObject({ vmId: VM })
  })

  test("signs with the new key itself within a minute, and what it signed until then stays good", async () => {
    const beside = await openDaemon()
    const kid = await keys.rotate()
    now += MINUTE - 1
    const last = await mint(beside.tokens)
    expect(kidOf(last)).not.toBe(kid)
    now += 1
    expect(kidOf(await mint(beside.tokens))).toBe(kid)
    now = START + 61 * MINUTE - 2000
    expect(await (await openDaemon()).tokens.verify(last)).toMatchObject({ vmId: VM })
  })
})

describe("A stranger who names keys that nobody has", () => {
  const named = async (kid: string) => {
    const [, ...rest] = (await mint()).split(".")
    return [Buffer.from(JSON.stringify({ alg: "EdDSA", kid })).toString("base64url"), ...rest].join(".")
  }

  test("makes the store be asked once in a while, however often they try", async () => {
    const strangers = await Promise.all(Array.from({ length: 50 }, (_, number) => named(`key-${number}`)))
    now += MINUTE / 2
    const before = store.loads
    for (const token of strangers) expect(await tokens.verify(token)).toBeUndefined()
    expect(store.loads - before).toBe(1)
  })

  test("is refused, and those with a good token are not, while the store doesn't answer", async () => {
    const token = await mint()
    let isBroken = false
    const broken = await openDaemon({
      ...store,
      load: () => (isBroken ? Promise.reject(new Error("weather")) : store.load()),
    })
    isBroken = true
    now += MINUTE / 2
    expect(await broken.tokens.verify(await named("key"))).toBeUndefined()
    expect(await broken.tokens.verify(token)).toMatchObject({ vmId: VM })
  })
})
