/** JWTs as we write and read them, whatever they are for. */
import { jwtVerify, SignJWT } from "jose"
import { ALGORITHM, MAX_TOKEN_SECONDS, type TokenKeys } from "./keys.ts"

const ISSUER = "torpor"
/** AWS's own limit of a token. */
const MAX_TOKEN_CHARACTERS = 8000

/**
 * A JWT as we write it, to the letter. Decoders overlook padding, white space and the bits that the last letter of a signature has too
 * many: one token would have many names, and a limit for each.
 */
const WRITTEN = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{85}[AQgw]$/

/** The claims of what we signed and is good at `now`; throws for anything else, jose's JWTExpired for what was good once. */
export const verifyClaims = async (token: string, keys: TokenKeys, now: () => number): Promise<unknown> => {
  if (token.length > MAX_TOKEN_CHARACTERS || !WRITTEN.test(token)) throw new Error("No token of ours is written so")
  const { payload } = await jwtVerify(
    token,
    async ({ kid }) => {
      const key = await keys.verifying(kid ?? "")
      if (key === undefined) throw new Error("The token was signed with another key")
      return key
    },
    { algorithms: [ALGORITHM], issuer: ISSUER, requiredClaims: ["sub", "exp"], currentDate: new Date(now()) },
  )
  return payload
}

/** Signs claims for a time that begins now; keys are kept for no longer one than {@link MAX_TOKEN_SECONDS}. */
export const signClaims = async (
  claims: Record<string, unknown>,
  { subject, expirationSeconds }: { subject: string; expirationSeconds: number },
  keys: TokenKeys,
  now: () => number,
): Promise<string> => {
  if (expirationSeconds > MAX_TOKEN_SECONDS)
    throw new RangeError(`A token of ${expirationSeconds} s would outlive its key`)
  const { kid, privateKey } = await keys.signing()
  const issuedAt = Math.floor(now() / 1000)
  return new SignJWT(claims)
    .setProtectedHeader({ alg: ALGORITHM, kid, typ: "JWT" })
    .setIssuer(ISSUER)
    .setSubject(subject)
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + expirationSeconds)
    .sign(privateKey)
}
