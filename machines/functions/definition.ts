/** What an environment runs: one version of a function as it was at one moment. `$LATEST` has another after every update. */
import type { FunctionSettings } from "../../src/db/function-values.ts"
import type { Scope } from "../resources.ts"

export interface Definition {
  /** Equal for definitions that are equal in everything that an environment sees, and for no others: idle environments are found by it. */
  readonly id: string
  readonly scope: Scope
  readonly functionId: string
  readonly versionId: string
  readonly name: string
  /** `$LATEST` or a number. */
  readonly version: string
  readonly settings: FunctionSettings
  readonly environment: Readonly<Record<string, string>>
  /** SHA-256 in base64 of the version's zip. */
  readonly code: string
  /** The same of its layers' zips, the lowest first. */
  readonly layers: readonly string[]
}
