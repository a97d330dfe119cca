import { randomUUID } from "node:crypto"
import type { PostgresJsDatabase } from "drizzle-orm/postgres-js"
import { defaultSettings } from "../../../../machines/functions/default-settings.ts"
import {
  functionAliases,
  functionCodes,
  functionEventConfigs,
  functions,
  functionVersions,
} from "../../../../src/db/functions.ts"

export const scope = { account: "000000000000", region: "eu-central-1" }

/** A function's rows, an alias `live` among them, as if it had been made; answers its id. */
export const insertFunction = async (
  db: PostgresJsDatabase,
  hostId: string,
  name: string,
  {
    deadLetterArn = null,
    recursiveLoop = "Terminate",
    config,
  }: {
    recursiveLoop?: "Allow" | "Terminate"
    deadLetterArn?: string | null
    config?: Partial<Pick<typeof functionEventConfigs.$inferInsert, "maximumRetries" | "maximumAgeSeconds">> & {
      onSuccess?: string
      onFailure?: string
    }
  } = {},
): Promise<string> => {
  const [id, codeId] = [randomUUID(), randomUUID()]
  await db.insert(functions).values({ id, ...scope, name, recursiveLoop })
  await db.insert(functionCodes).values({ id: codeId, hostId, sha256: codeId, bytes: 1, unpackedBytes: 1 })
  await db.insert(functionVersions).values({
    id: randomUUID(),
    functionId: id,
    number: 0,
    codeId,
    settings: { ...defaultSettings, runtime: "nodejs24.x", handler: "index.handler", deadLetterArn },
    definitionHash: "",
    state: "Active",
    revisionId: randomUUID(),
    modifiedAt: new Date(),
  })
  await db
    .insert(functionAliases)
    .values({ id: randomUUID(), functionId: id, name: "live", number: 0, description: "", revisionId: randomUUID() })
  if (config !== undefined) {
    const { onSuccess = null, onFailure = null, maximumRetries = null, maximumAgeSeconds = null } = config
    await db.insert(functionEventConfigs).values({
      functionId: id,
      qualifier: "$LATEST",
      maximumRetries,
      maximumAgeSeconds,
      destinations: { onSuccess, onFailure },
      modifiedAt: new Date(),
    })
  }
  return id
}
