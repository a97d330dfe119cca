import type { ArtifactStore } from "../../src/store/artifact-store.ts"
import { createTurns } from "../building/turns.ts"
import { openCodeStore, type CodeStore } from "./code/code-store.ts"
import type { FunctionsGround } from "./ground.ts"
import { createFunctions, type Functions } from "./resources.ts"
import { createSettling, type Settling } from "./code/settling.ts"
import { removeAllUnused } from "./code/unused-code.ts"

const LOOKED_THROUGH_AT_ONCE = 4

export interface OpenFunctions extends AsyncDisposable {
  readonly verbs: Functions
  readonly codes: CodeStore
  readonly settling: Settling
}

/** Opens the functions of this host, and takes up what was unsettled if it `resumes`. Disposing waits for what is at work, which is aborted. */
export const openFunctions = async (
  options: Omit<FunctionsGround, "codes" | "codeTurns" | "settling" | "signal"> & {
    readonly store: ArtifactStore
    readonly resumes: boolean
  },
): Promise<OpenFunctions> => {
  const { db, hostId, log, store, readiness, changes } = options
  const codes = await openCodeStore(db, store, hostId)
  await removeAllUnused({ db, hostId, codes, readiness, log })
  const closing = new AbortController()
  const settling = createSettling({ db, hostId, codes, readiness, changes, log, signal: closing.signal })
  if (options.resumes) await settling.resume()
  return {
    verbs: createFunctions({
      ...options,
      codes,
      codeTurns: createTurns(LOOKED_THROUGH_AT_ONCE),
      settling,
      signal: closing.signal,
    }),
    codes,
    settling,
    async [Symbol.asyncDispose]() {
      closing.abort()
      await settling[Symbol.asyncDispose]()
    },
  }
}
