import type { KeyStore, StoredKey } from "../../src/tokens/keys.ts"

export interface MemoryKeyStore extends KeyStore {
  /** How often it was asked for them. */
  readonly loads: number
}

/** Keys in memory, for every daemon that is given the same one. */
export const createMemoryKeyStore = (...kept: StoredKey[]): MemoryKeyStore => {
  let keys: readonly StoredKey[] = kept
  let loads = 0
  return {
    load: async () => {
      loads++
      return [...keys]
    },
    insert: async (key) => void (keys = [key, ...keys]),
    remove: async (kids) => void (keys = keys.filter(({ kid }) => !kids.includes(kid))),
    get loads() {
      return loads
    },
  }
}
