/** The words and documents that columns hold. States are AWS's own. */
export const lifeStates = ["PENDING", "RUNNING", "SUSPENDING", "SUSPENDED", "TERMINATING", "TERMINATED"] as const
export type MicrovmState = (typeof lifeStates)[number]

/** An execution environment has the same; at an event or frozen, it is RUNNING. */
export type EnvironmentState = MicrovmState

export const imageStates = [
  "CREATING",
  "CREATED",
  "CREATE_FAILED",
  "UPDATING",
  "UPDATED",
  "UPDATE_FAILED",
  "DELETING",
  "DELETE_FAILED",
  "DELETED",
] as const
export type ImageState = (typeof imageStates)[number]

export const versionStates = [
  "PENDING",
  "IN_PROGRESS",
  "SUCCESSFUL",
  "FAILED",
  "DELETING",
  "DELETED",
  "DELETE_FAILED",
] as const
export type VersionState = (typeof versionStates)[number]

export const versionStatuses = ["ACTIVE", "INACTIVE"] as const
export const buildStates = ["PENDING", "IN_PROGRESS", "SUCCESSFUL", "FAILED"] as const
export const vmKinds = ["microvm", "build", "environment"] as const
export const snapshotStates = ["none", "ready", "consumed"] as const

/** Why a state changed: "why did my VM stop" is one query. */
export const causes = ["api", "idle", "deadline", "request", "hook", "exit", "host", "memory", "build"] as const
export type Cause = (typeof causes)[number]

export interface IdlePolicy {
  maxIdleSeconds: number
  suspendedSeconds: number
  autoResume: boolean
}

export type LoggingTarget = { kind: "disabled" } | { kind: "group"; group: string | null; stream: string | null }

/** What an image's author asked for beside the recipe; kept as said, since the API echoes it. */
export interface ImageSettings {
  description: string | null
  logging: LoggingTarget | null
  egressConnectors: string[]
  architectures: string[] | null
  capabilities: "default" | "all"
  /** As said, `null` when the member was left out. */
  additionalCapabilities: string[] | null
}

/** How the application is started: what is left of a Dockerfile once it is built. */
export interface RunSettings {
  argv: string[]
  environment: Record<string, string>
  workingDirectory: string
  user: string
  exposedPorts: number[]
  labels: Record<string, string>
  volumes: string[]
  /** As written: a name or a number. */
  stopSignal: string | null
  healthcheck: Healthcheck | null
  /** ONBUILD's triggers, kept as written for whoever would build on it. */
  onBuild: string[]
}

/** HEALTHCHECK's CMD; it is kept, and nobody runs it. */
export interface Healthcheck {
  argv: string[]
  intervalMs: number
  timeoutMs: number
  startPeriodMs: number
  startIntervalMs: number
  /** Failures in a row. */
  retries: number
}
