/**
 * The keys that tokens are signed and verified with. A newer one takes over by age, or when it is asked for; the older go on verifying
 * until no token that is still good can be under them. Several daemons may share a store: each takes up what another has put there.
 */
import { randomUUID } from "node:crypto"
import { exportJWK, generateKeyPair, importJWK, type CryptoKey, type JWK } from "jose"
import type { Asker } from "../db/audit.ts"
import { conflict } from "../errors.ts"

export const ALGORITHM = "EdDSA"

export interface StoredKey {
  readonly kid: string
  readonly createdAt: Date
  readonly publicJwk: JWK
  readonly privateJwk: JWK
}

/** Who wants another key. */
export interface Rotator extends Asker {
  readonly account: string
  readonly region: string
}

/** Where keys are kept; the private half sealed. */
export interface KeyStore {
  /** Newest first; those that still verify. */
  load(): Promise<StoredKey[]>
  /** With a row of the audit log when somebody asked for it. */
  insert(key: StoredKey, by?: Rotator): Promise<void>
  /** Forgets keys under which nothing can be good any more. */
  remove(kids: readonly string[]): Promise<void>
}

export interface SigningKey {
  readonly kid: string
  readonly privateKey: CryptoKey
}

export interface TokenKeys {
  /** What a new token is signed with. */
  signing(): Promise<SigningKey>
  /** By `kid`; one that isn't known is looked for in the store, now and then. */
  verifying(kid: string): Promise<CryptoKey | undefined>
  /** The JWKS document, of all that verify: an edge elsewhere needs nothing else. */
  jwks(): Promise<{ readonly keys: JWK[] }>
  /** Makes the next key now, and resolves with its `kid`; a conflict when too many old ones are still in use. */
  rotate(by?: Rotator): Promise<string>
}

/** AWS's limit of a token's life, and so of our own: what a key must outlive its successor's beginning by. */
export const MAX_TOKEN_SECONDS = 3600
/** How old the store's keys may be to us: for so long we may sign with a key that another daemon has replaced. */
const TAKEN_UP_MS = 60_000
/** Two daemons' clocks are no further apart. */
const CLOCKS_APART_MS = 240_000
const MAX_AGE_MS = 30 * 24 * 3_600_000
const MAX_KEYS = 8
/** Strangers name keys that nobody has: they don't make us ask more often than this. */
const ASK_AGAIN_MS = 5000

interface Loaded {
  readonly at: number
  /** Newest first. */
  readonly stored: readonly StoredKey[]
  readonly signing: SigningKey
  readonly verifying: ReadonlyMap<string, CryptoKey>
}

/** Opens the keys that are there, or makes a first one; `now` is in milliseconds since the epoch. */
export const openTokenKeys = async (store: KeyStore, now: () => number = Date.now): Promise<TokenKeys> => {
  let loading: Promise<Loaded> | undefined
  let askedAt = now()
  let loaded = await load(store, now)

  /** Asks the store once for everybody who waits. */
  const refresh = async (): Promise<void> => {
    askedAt = now()
    loading ??= load(store, now).finally(() => (loading = undefined))
    loaded = await loading
  }
  const mayAsk = () => now() - askedAt >= ASK_AGAIN_MS

  return {
    async signing() {
      if (now() - loaded.at >= TAKEN_UP_MS) await refresh()
      return loaded.signing
    },
    async verifying(kid) {
      if (!loaded.verifying.has(kid) && mayAsk()) await refresh()
      return loaded.verifying.get(kid)
    },
    async jwks() {
      if (mayAsk()) await refresh()
      return { keys: loaded.stored.map(({ kid, publicJwk }) => ({ ...publicJwk, kid, use: "sig", alg: ALGORITHM })) }
    },
    async rotate(by) {
      await refresh()
      if (loaded.stored.length >= MAX_KEYS)
        throw conflict(
          `There are ${MAX_KEYS} signing keys that tokens may still be good under: rotate again when the oldest are ${MAX_TOKEN_SECONDS / 60} minutes out of use.`,
        )
      const key = await makeKey(now())
      await store.insert(key, by)
      // One that was begun before may not have it.
      await loading
      await refresh()
      return key.kid
    },
  }
}

const load = async (store: KeyStore, now: () => number): Promise<Loaded> => {
  const at = now()
  let stored = await store.load()
  if (stored[0] === undefined || at - stored[0].createdAt.getTime() >= MAX_AGE_MS) {
    await store.insert(await makeKey(at))
    stored = await store.load()
  }
  const over = stored.filter((_, index) => isOver(stored[index - 1], at)).map(({ kid }) => kid)
  if (over.length > 0) {
    await store.remove(over)
    stored = stored.filter(({ kid }) => !over.includes(kid))
  }
  const [newest] = stored
  if (newest === undefined) throw new Error("The first signing key was not kept")
  const verifying = new Map<string, CryptoKey>()
  for (const { kid, publicJwk } of stored) verifying.set(kid, (await importJWK(publicJwk, ALGORITHM)) as CryptoKey)
  const privateKey = (await importJWK(newest.privateJwk, ALGORITHM)) as CryptoKey
  return { at, stored, signing: { kid: newest.kid, privateKey }, verifying }
}

/** Whether what `successor` replaced has signed nothing that is still good. */
const isOver = (successor: StoredKey | undefined, at: number) =>
  successor !== undefined &&
  at - successor.createdAt.getTime() > MAX_TOKEN_SECONDS * 1000 + TAKEN_UP_MS + CLOCKS_APART_MS

const makeKey = async (at: number): Promise<StoredKey> => {
  const { publicKey, privateKey } = await generateKeyPair(ALGORITHM, { extractable: true })
  return {
    kid: randomUUID(),
    createdAt: new Date(at),
    publicJwk: await exportJWK(publicKey),
    privateJwk: await exportJWK(privateKey),
  }
}
