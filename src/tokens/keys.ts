import { randomUUID } from "node:crypto"
import { exportJWK, generateKeyPair, importJWK, type CryptoKey, type JWK } from "jose"

export const ALGORITHM = "EdDSA"

export interface StoredKey {
  readonly kid: string
  readonly publicJwk: JWK
  readonly privateJwk: JWK
}

/** Where keys are kept; the private half sealed. */
export interface KeyStore {
  /** Newest first; those that still verify. */
  load(): Promise<StoredKey[]>
  insert(key: StoredKey): Promise<void>
}

export interface TokenKeys {
  /** What new tokens are signed with. */
  readonly current: { readonly kid: string; readonly privateKey: CryptoKey }
  /** By `kid`: also those of tokens that were signed before a rotation. */
  readonly verifying: ReadonlyMap<string, CryptoKey>
  /** The JWKS document: an edge elsewhere needs nothing else. */
  readonly jwks: { readonly keys: JWK[] }
}

/** The keys that are there, or a first one. A later rotation inserts another: the old ones go on verifying. */
export const openTokenKeys = async (store: KeyStore): Promise<TokenKeys> => {
  let stored = await store.load()
  if (stored.length === 0) {
    await store.insert(await makeKey())
    stored = await store.load()
  }
  const [newest] = stored
  if (newest === undefined) throw new Error("The first signing key was not kept")
  const verifying = new Map<string, CryptoKey>()
  for (const { kid, publicJwk } of stored) verifying.set(kid, (await importJWK(publicJwk, ALGORITHM)) as CryptoKey)
  return {
    current: { kid: newest.kid, privateKey: (await importJWK(newest.privateJwk, ALGORITHM)) as CryptoKey },
    verifying,
    jwks: { keys: stored.map(({ kid, publicJwk }) => ({ ...publicJwk, kid, use: "sig", alg: ALGORITHM })) },
  }
}

const makeKey = async (): Promise<StoredKey> => {
  const { publicKey, privateKey } = await generateKeyPair(ALGORITHM, { extractable: true })
  return { kid: randomUUID(), publicJwk: await exportJWK(publicKey), privateJwk: await exportJWK(privateKey) }
}
