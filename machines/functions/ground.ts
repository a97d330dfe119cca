/** What every verb about functions stands on. */
import type { Settings } from "../../src/settings.ts"
import type { Log } from "../../src/log.ts"
import type { Artifacts } from "../../src/store/artifact.ts"
import type { Turns } from "../building/turns.ts"
import type { SecretBox } from "../images/images.ts"
import type { Database } from "../vm-row.ts"
import type { FunctionChanges } from "./changes.ts"
import type { CodeStore } from "./code/code-store.ts"
import type { Readiness } from "./code/readiness.ts"
import type { Settling } from "./code/settling.ts"
import type { CheckDestination } from "./events/destinations/destinations.ts"

/** What an account may have, in all regions: a caller names those. */
export interface FunctionLimits {
  /** Zips of all versions of functions and layers together, each counted. */
  readonly codeBytes: number
  /** Versions of functions and layers together: the rows that callers can make without end. */
  readonly versions: number
  /** Of one function. */
  readonly aliases: number
  readonly concurrentExecutions: number
  /** What reserved concurrency must leave to functions that have none. */
  readonly unreservedExecutions: number
}

/** As the operator has decided them. */
export const toFunctionLimits = ({
  maxCodeMiB,
  maxVersions,
  maxAliases,
  concurrentExecutions,
  unreservedExecutions,
}: Settings["functions"]): FunctionLimits => ({
  codeBytes: maxCodeMiB * 1024 ** 2,
  versions: maxVersions,
  aliases: maxAliases,
  concurrentExecutions,
  unreservedExecutions,
})

export interface FunctionsGround {
  readonly db: Database & { transaction<T>(work: (tx: Database) => Promise<T>): Promise<T> }
  readonly hostId: string
  readonly secrets: SecretBox
  readonly codes: CodeStore
  readonly artifacts: Artifacts
  /** Where zips are put down while they are looked through, so many at a time: each may be as large as any artifact. */
  readonly artifactDirectory: string
  readonly codeTurns: Turns
  readonly settling: Settling
  readonly readiness: Readiness
  readonly changes: FunctionChanges
  readonly limits: FunctionLimits
  /** Where results of asynchronous events can go here. */
  readonly checkDestination: CheckDestination
  readonly log: Log
  /** Aborted when the daemon closes. */
  readonly signal: AbortSignal
}
