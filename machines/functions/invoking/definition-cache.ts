/** Definitions of versions, made once for each revision of their rows. */
import { LRUCache } from "lru-cache"
import type { SecretBox } from "../../images/images.ts"
import type { Database } from "../../vm-row.ts"
import type { Definition } from "../definition.ts"
import { findDefinition, type ServedDefinition } from "../definitions.ts"

export interface DefinitionCache {
  /** What serves a version at a revision of its row, or at a later one; `undefined` when it is gone. */
  of(versionId: string, revisionId: string): Promise<Definition | undefined>
  /** Which version a definition was made of, of those that were made here. */
  versionOf(definitionId: string): string | undefined
}

/** An entry holds environment variables, of 4 KB at most. */
const MAX_ENTRIES = 2000

/** `replaced` is called with a function's id when another definition serves a version than the one before. */
export const createDefinitionCache = (
  db: Database,
  secrets: SecretBox,
  replaced: (functionId: string) => void,
): DefinitionCache => {
  const made = new LRUCache<string, ServedDefinition>({ max: MAX_ENTRIES })
  const versions = new LRUCache<string, string>({ max: MAX_ENTRIES })
  return {
    async of(versionId, revisionId) {
      const before = made.get(versionId)
      if (before?.revisionId === revisionId) return before.definition
      const served = await findDefinition(db, secrets, versionId)
      if (served === undefined) return undefined
      made.set(versionId, served)
      versions.set(served.definition.id, versionId)
      if (before !== undefined && before.definition.id !== served.definition.id) replaced(served.definition.functionId)
      return served.definition
    },
    versionOf: (definitionId) => versions.get(definitionId),
  }
}
