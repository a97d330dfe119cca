/** Tokens for a MicroVM's endpoint: EdDSA JWTs bound to the VM, its ports, a purpose and a time. */
import { errors, jwtVerify, SignJWT } from "jose"
import { LRUCache } from "lru-cache"
import { z } from "zod"
import { ALGORITHM, type TokenKeys } from "./keys.ts"

export interface PortRange {
  readonly from: number
  readonly to: number
}

export interface Grant {
  readonly vmId: string
  readonly ports: readonly PortRange[]
  /** Seconds since the epoch. */
  readonly expiresAt: number
}

export interface Tokens {
  mint(grant: { vmId: string; ports: readonly PortRange[]; expirationSeconds: number }): Promise<string>
  /** What a token grants; `undefined` when it is forged, of another purpose, or no token at all. */
  verify(token: string): Promise<Grant | "expired" | undefined>
}

const ISSUER = "torpor"
const PURPOSE = "proxy"
/** AWS's own limit of a token. */
const MAX_TOKEN_CHARACTERS = 8000
const CACHED_TOKENS = 10_000

const Port = z.number().int().min(1).max(65535)
const Claims = z.object({
  sub: z.string().max(64),
  exp: z.number(),
  purpose: z.literal(PURPOSE),
  ports: z.array(z.tuple([Port, Port])).max(64),
})

/**
 * Mints and verifies under a set of keys, at the time that `now` tells (milliseconds since the epoch).
 * Only what verified is cached, and its time is looked at again at each use.
 */
export const createTokens = ({ current, verifying }: TokenKeys, now: () => number = Date.now): Tokens => {
  const verified = new LRUCache<string, Grant>({ max: CACHED_TOKENS })
  return {
    mint: ({ vmId, ports, expirationSeconds }) =>
      new SignJWT({ purpose: PURPOSE, ports: ports.map(({ from, to }) => [from, to]) })
        .setProtectedHeader({ alg: ALGORITHM, kid: current.kid, typ: "JWT" })
        .setIssuer(ISSUER)
        .setSubject(vmId)
        .setIssuedAt(Math.floor(now() / 1000))
        .setExpirationTime(Math.floor(now() / 1000) + expirationSeconds)
        .sign(current.privateKey),

    async verify(token) {
      const known = verified.get(token)
      if (known !== undefined) {
        if (known.expiresAt * 1000 > now()) return known
        verified.delete(token)
        return "expired"
      }
      if (token.length > MAX_TOKEN_CHARACTERS) return undefined
      try {
        const { payload } = await jwtVerify(
          token,
          ({ kid }) => {
            const key = verifying.get(kid ?? "")
            if (key === undefined) throw new Error("The token was signed with another key")
            return key
          },
          { algorithms: [ALGORITHM], issuer: ISSUER, requiredClaims: ["sub", "exp"], currentDate: new Date(now()) },
        )
        const claims = Claims.parse(payload)
        const grant = {
          vmId: claims.sub,
          ports: claims.ports.map(([from, to]) => ({ from, to })),
          expiresAt: claims.exp,
        }
        verified.set(token, grant)
        return grant
      } catch (error) {
        return error instanceof errors.JWTExpired ? "expired" : undefined
      }
    },
  }
}

/** Whether a grant covers a port. */
export const allowsPort = ({ ports }: Grant, port: number) => ports.some(({ from, to }) => port >= from && port <= to)
