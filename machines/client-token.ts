import { createHash } from "node:crypto"
import { and, eq } from "drizzle-orm"
import { clientTokens } from "../src/db/schema.ts"
import { conflict } from "../src/errors.ts"
import type { Scope } from "./resources.ts"
import type { Database } from "./vm-row.ts"

/**
 * Answers the resource that this `clientToken` already made, or claims the token for `resourceId` and answers `undefined`.
 * Runs in the transaction that makes the resource: two requests at once meet at the primary key, and the second one waits for the first.
 * The same token with another request is a conflict.
 */
export const claimClientToken = async (
  db: Database,
  token: string | undefined,
  { scope, operation, request, resourceId }: { scope: Scope; operation: string; request: unknown; resourceId: string },
): Promise<string | undefined> => {
  if (token === undefined) return undefined
  const requestHash = createHash("sha256").update(JSON.stringify(request)).digest("hex")
  const key = { account: scope.account, region: scope.region, operation, token }
  const claimed = await db
    .insert(clientTokens)
    .values({ ...key, requestHash, resourceId })
    .onConflictDoNothing()
    .returning({ token: clientTokens.token })
  if (claimed.length > 0) return undefined
  const [earlier] = await db
    .select()
    .from(clientTokens)
    .where(
      and(
        eq(clientTokens.account, scope.account),
        eq(clientTokens.region, scope.region),
        eq(clientTokens.operation, operation),
        eq(clientTokens.token, token),
      ),
    )
  if (earlier === undefined || earlier.requestHash !== requestHash)
    throw conflict(`The client token '${token}' was already used for a request with other parameters.`)
  return earlier.resourceId
}
