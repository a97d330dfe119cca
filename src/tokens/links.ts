/** Links by which a browser enters one port of a MicroVM: signed, good once, and for a minute. */
import { randomUUID } from "node:crypto"
import { LRUCache } from "lru-cache"
import { z } from "zod"
import type { TokenKeys } from "./keys.ts"
import { signClaims, verifyClaims } from "./signing.ts"

/** Where a link leads. */
export interface Destination {
  readonly vmId: string
  readonly port: number
  /** With its query, under the MicroVM's own host: {@link LOCAL_PATH}. */
  readonly path: string
  /** How long the browser stays let in, from when it enters. */
  readonly expirationSeconds: number
}

export interface Link extends Destination {
  readonly id: string
}

export interface Links {
  /** Makes one; `expiresAt` is in seconds since the epoch. */
  mint(to: Destination): Promise<{ token: string; expiresAt: number }>
  /** Where a link leads; `undefined` when it is over, or none of ours. */
  read(token: string): Promise<Link | undefined>
  /** Uses a link up; `false` when it was before. */
  spend(link: Link): boolean
}

/** A path that stays where it is: two slashes, or a slash and a backslash, would be another host to a browser. */
export const LOCAL_PATH = "\\/(?![\\/\\\\])[!-\\[\\]-~]*"
const LIFE_SECONDS = 60
/** Links that nobody has used yet. Where there are more, the oldest are over before their time. */
const UNSPENT_LINKS = 10_000

const Claims = z.object({
  sub: z.string().max(64),
  jti: z.uuid(),
  purpose: z.literal("link"),
  port: z.number().int().min(1).max(65535),
  path: z.string().regex(new RegExp(`^${LOCAL_PATH}$`)),
  seconds: z.number().int().min(1),
})

/**
 * Links under a set of keys. Those that are unused are known in memory only, so that none is good twice, whatever happens: all of them
 * end with the daemon.
 */
export const createLinks = (keys: TokenKeys, now: () => number = Date.now): Links => {
  const unspent = new LRUCache<string, true>({ max: UNSPENT_LINKS })
  return {
    async mint({ vmId, port, path, expirationSeconds }) {
      const id = randomUUID()
      const expiresAt = Math.floor(now() / 1000) + LIFE_SECONDS
      const token = await signClaims(
        { jti: id, purpose: "link", port, path, seconds: expirationSeconds },
        { subject: vmId, expirationSeconds: LIFE_SECONDS },
        keys,
        now,
      )
      unspent.set(id, true)
      return { token, expiresAt }
    },
    async read(token) {
      try {
        const { sub, jti, port, path, seconds } = Claims.parse(await verifyClaims(token, keys, now))
        return unspent.has(jti) ? { id: jti, vmId: sub, port, path, expirationSeconds: seconds } : undefined
      } catch {
        return undefined
      }
    },
    spend: ({ id }) => unspent.delete(id),
  }
}
