/** Tokens for a MicroVM's endpoint: EdDSA JWTs bound to the VM, its ports, a purpose and a time. */
import { errors } from "jose"
import { LRUCache } from "lru-cache"
import { z } from "zod"
import type { TokenKeys } from "./keys.ts"
import { createLinks, type Links } from "./links.ts"
import { signClaims, verifyClaims } from "./signing.ts"

/** Both ends included. */
export interface PortRange {
  readonly from: number
  readonly to: number
}

/** A token is good for what it was made for only: what a program sends, or what a browser keeps as a cookie. */
export type Purpose = "proxy" | "cookie"

export interface Grant {
  /** What it was read from: one text, however often it was sent. */
  readonly token: string
  readonly vmId: string
  readonly ports: readonly PortRange[]
  /** Seconds since the epoch. */
  readonly expiresAt: number
}

export interface Tokens {
  mint(grant: {
    vmId: string
    ports: readonly PortRange[]
    expirationSeconds: number
    purpose?: Purpose
  }): Promise<string>
  /** What a token grants; `undefined` when it is forged, of another purpose, or no token at all. At once where it is known. */
  verify(token: string, purpose?: Purpose): Verdict | Promise<Verdict>
  readonly links: Links
}

export type Verdict = Grant | "expired" | undefined

const CACHED_TOKENS = 10_000
/** More than these would not fit into a header beside an application's own. */
export const MAX_PORT_RANGES = 64

const Port = z.number().int().min(1).max(65535)
const Claims = z.object({
  sub: z.string().max(64),
  exp: z.number(),
  purpose: z.enum(["proxy", "cookie"]),
  ports: z.array(z.tuple([Port, Port])).max(MAX_PORT_RANGES),
})

interface Verified {
  readonly grant: Grant
  readonly purpose: Purpose
}

/**
 * Mints and verifies under a set of keys, at the time that `now` tells (milliseconds since the epoch).
 * Only what verified is cached, and its time is looked at again at each use.
 */
export const createTokens = (keys: TokenKeys, now: () => number = Date.now): Tokens => {
  const verified = new LRUCache<string, Verified>({ max: CACHED_TOKENS })

  const look = async (token: string): Promise<Verified | "expired" | undefined> => {
    try {
      const { sub, ports, exp, purpose } = Claims.parse(await verifyClaims(token, keys, now))
      const grant = { token, vmId: sub, ports: ports.map(([from, to]) => ({ from, to })), expiresAt: exp }
      verified.set(token, { grant, purpose })
      return { grant, purpose }
    } catch (error) {
      return error instanceof errors.JWTExpired ? "expired" : undefined
    }
  }

  return {
    mint: ({ vmId, ports, expirationSeconds, purpose = "proxy" }) =>
      signClaims(
        { purpose, ports: ports.map(({ from, to }) => [from, to]) },
        { subject: vmId, expirationSeconds },
        keys,
        now,
      ),

    verify(token, purpose = "proxy") {
      const known = verified.get(token)
      if (known === undefined) return look(token).then((found) => toVerdict(found, purpose))
      if (known.grant.expiresAt * 1000 > now()) return toVerdict(known, purpose)
      verified.delete(token)
      return "expired"
    },

    links: createLinks(keys, now),
  }
}

const toVerdict = (found: Verified | "expired" | undefined, purpose: Purpose): Verdict => {
  if (found === "expired") return found
  return found?.purpose === purpose ? found.grant : undefined
}

/** Whether a grant covers a port. */
export const allowsPort = ({ ports }: Grant, port: number) => ports.some(({ from, to }) => port >= from && port <= to)
