import type { Healthcheck } from "../../src/db/values.ts"

/** What a base image brings to the stage that begins with it; a Dockerfile's instructions are said on top of it. */
export interface BaseConfig {
  /** Without a prototype: names are a stranger's. */
  readonly environment: Readonly<Record<string, string>>
  /** Absolute. */
  readonly workingDirectory: string
  /** As written: a name or an id, maybe with `:group`; empty for root. */
  readonly user: string
  /** `null` where the image says none. */
  readonly entrypoint: readonly string[] | null
  readonly command: readonly string[] | null
  /** TCP alone. */
  readonly exposedPorts: readonly number[]
  readonly labels: Readonly<Record<string, string>>
  readonly volumes: readonly string[]
  readonly stopSignal: string | null
  readonly healthcheck: Healthcheck | null
  /** What SHELL said; `null` for the default. */
  readonly shell: readonly string[] | null
  /** Instructions as text, in their order: the stage that begins with this image starts with them. */
  readonly onBuild: readonly string[]
}
