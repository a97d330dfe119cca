/** Freezing `$LATEST` as the next number. */
import { randomUUID } from "node:crypto"
import { and, desc, eq, gt } from "drizzle-orm"
import { functionCodes, functions, functionVersions } from "../../../src/db/functions.ts"
import type { Scope } from "../../resources.ts"
import type { Database } from "../../vm-row.ts"
import { attachedLayers, attachLayers } from "../layers/attached-layers.ts"
import type { FunctionsGround } from "../ground.ts"
import { makeRoom } from "../room.ts"
import type { FunctionRow, VersionRow } from "../rows.ts"

/**
 * Publishes `$LATEST` as it is in this transaction, or answers the newest version when nothing has changed since. A number is never
 * given twice. Publishing changes `$LATEST`'s revision too. Whoever commits a new one that is pending has it settled.
 */
export const publish = async (
  tx: Database,
  { limits }: Pick<FunctionsGround, "limits">,
  owner: FunctionRow,
  latest: VersionRow,
  description: string | undefined,
  scope: Scope,
): Promise<{ version: VersionRow; isNew: boolean }> => {
  const [newest] = await tx
    .select()
    .from(functionVersions)
    .where(and(eq(functionVersions.functionId, owner.id), gt(functionVersions.number, 0)))
    .orderBy(desc(functionVersions.number))
    .limit(1)
  if (newest?.number === owner.lastVersion && newest.definitionHash === latest.definitionHash)
    return { version: newest, isNew: false }

  const [code] = await tx
    .select({ bytes: functionCodes.bytes })
    .from(functionCodes)
    .where(eq(functionCodes.id, latest.codeId))
  await makeRoom(tx, scope, limits, { bytes: code?.bytes ?? 0, versions: 1 })
  const number = owner.lastVersion + 1
  await tx.update(functions).set({ lastVersion: number }).where(eq(functions.id, owner.id))
  const [version] = await tx
    .insert(functionVersions)
    .values({
      ...latest,
      id: randomUUID(),
      number,
      settings: { ...latest.settings, ...(description === undefined ? {} : { description }) },
      // Its snapshot has yet to be made.
      ...(latest.settings.snapStart === true ? { state: "Pending" as const } : {}),
      revisionId: randomUUID(),
      modifiedAt: new Date(),
    })
    .returning()
  if (version === undefined) throw new Error("The version's row was not returned")
  await attachLayers(tx, version.id, await attachedLayers(tx, latest.id))
  await tx.update(functionVersions).set({ revisionId: randomUUID() }).where(eq(functionVersions.id, latest.id))
  return { version, isNew: true }
}
