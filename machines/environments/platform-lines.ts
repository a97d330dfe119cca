/** What the platform says of an environment and its events: lines of its log, and records for extensions that subscribed. */
import type { RecordSpec } from "../../src/agent/protocol.ts"
import type { Definition } from "../functions/definition.ts"
import { runtimeVersionArn, runtimeVersionName } from "../functions/names.ts"
import type { InitializationType } from "./environments.ts"

export interface PlatformSubject {
  readonly definition: Pick<Definition, "scope" | "name" | "version" | "settings">
  readonly initialization: InitializationType
}

/** `error`: the function said so itself. `failure`: its runtime or an extension came to an end. */
export interface PlatformStatus {
  readonly status: "success" | "error" | "failure" | "timeout"
  /** `Runtime.ExitError`. */
  readonly errorType?: string | undefined
}

/** `invoke`: it is done again, within the first event. */
interface InitPhase {
  readonly phase: "init" | "invoke"
}

export type PlatformEvent =
  | ({ readonly type: "initStart" } & InitPhase)
  | ({ readonly type: "initRuntimeDone" } & InitPhase & PlatformStatus)
  | ({ readonly type: "initReport"; readonly durationMs: number } & InitPhase & PlatformStatus)
  | { readonly type: "restoreStart" }
  | ({ readonly type: "restoreRuntimeDone" } & PlatformStatus)
  | ({ readonly type: "restoreReport"; readonly durationMs: number } & PlatformStatus)
  | { readonly type: "start"; readonly requestId: string; readonly functionArn: string }
  | ({
      readonly type: "runtimeDone"
      readonly requestId: string
      readonly durationMs: number
      readonly producedBytes?: number | undefined
    } & PlatformStatus)
  | ({ readonly type: "report"; readonly requestId: string } & ReportMetrics & PlatformStatus)

export interface ReportMetrics {
  readonly durationMs: number
  readonly billedMs: number
  readonly maxMemoryBytes: number
  /** Of the Init before it, the first time. */
  readonly initMs?: number | undefined
  readonly restoreMs?: number | undefined
  readonly billedRestoreMs?: number | undefined
}

const LEVELS = ["DEBUG", "INFO", "WARN"] as const
type Level = (typeof LEVELS)[number]

/** The lines of the log that an event makes, none when they are below the function's system log level. */
export const toPlatformLines = (subject: PlatformSubject, event: PlatformEvent, at: Date): string[] => {
  const { logging } = subject.definition.settings
  if (logging.format === "Text") return toText(subject, event, at)
  const wanted = LEVELS.indexOf((logging.systemLevel ?? "INFO") as Level)
  if (LEVELS.indexOf(levelOf(subject, event)) < wanted) return []
  return [JSON.stringify({ time: at.toISOString(), ...toPlatformRecord(subject, event) })]
}

/** What extensions that subscribed are told of an event, and what is its line in JSON. */
export const toPlatformRecord = (subject: PlatformSubject, event: PlatformEvent): RecordSpec => ({
  type: `platform.${event.type}`,
  record: recordOf(subject, event),
})

const statusOf = ({ status, errorType }: PlatformStatus) => ({
  status,
  ...(errorType === undefined ? {} : { errorType }),
})

const versionOf = ({ definition: { scope, settings } }: PlatformSubject) => ({
  runtimeVersion: runtimeVersionName(settings.runtime),
  runtimeVersionArn: runtimeVersionArn(settings.runtime, scope.region),
})

const nameOf = ({ definition: { name, version } }: PlatformSubject) => ({
  functionName: name,
  functionVersion: version,
})

const recordOf = (subject: PlatformSubject, event: PlatformEvent): Record<string, unknown> => {
  const initializationType = subject.initialization
  switch (event.type) {
    case "initStart":
      return { initializationType, phase: event.phase, ...versionOf(subject), ...nameOf(subject) }
    case "initRuntimeDone":
      return { initializationType, phase: event.phase, ...statusOf(event) }
    case "initReport":
      return {
        initializationType,
        phase: event.phase,
        ...statusOf(event),
        metrics: { durationMs: rounded(event.durationMs) },
      }
    case "restoreStart":
      return { ...versionOf(subject), ...nameOf(subject) }
    case "restoreRuntimeDone":
      return statusOf(event)
    case "restoreReport":
      return { ...statusOf(event), metrics: { durationMs: rounded(event.durationMs) } }
    case "start": {
      const { requestId, functionArn } = event
      return { requestId, functionArn, version: subject.definition.version }
    }
    case "runtimeDone": {
      const { requestId, durationMs, producedBytes } = event
      const metrics = {
        durationMs: rounded(durationMs),
        ...(producedBytes === undefined ? {} : { producedBytes }),
      }
      return { requestId, ...statusOf(event), metrics }
    }
    case "report":
      return { requestId: event.requestId, metrics: metricsOf(subject, event), ...statusOf(event) }
    default:
      return event satisfies never
  }
}

const metricsOf = (
  { definition }: PlatformSubject,
  { durationMs, billedMs, maxMemoryBytes, initMs, restoreMs, billedRestoreMs }: ReportMetrics,
) => ({
  durationMs: rounded(durationMs),
  billedDurationMs: billedMs,
  memorySizeMB: definition.settings.memoryMiB,
  maxMemoryUsedMB: toMiB(maxMemoryBytes),
  ...(initMs === undefined ? {} : { initDurationMs: rounded(initMs) }),
  ...(restoreMs === undefined ? {} : { restoreDurationMs: rounded(restoreMs) }),
  ...(billedRestoreMs === undefined ? {} : { billedRestoreDurationMs: billedRestoreMs }),
})

const rounded = (ms: number) => Math.round(ms * 1000) / 1000
const toMiB = (bytes: number) => Math.ceil(bytes / 1024 ** 2)
const shown = (ms: number) => `${ms.toFixed(2)} ms`

/** https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html, "System log level event mapping". */
const levelOf = ({ initialization }: PlatformSubject, event: PlatformEvent): Level => {
  if ("status" in event && event.status !== "success") return "WARN"
  switch (event.type) {
    case "initRuntimeDone":
    case "restoreRuntimeDone":
    case "runtimeDone":
      return "DEBUG"
    case "initReport":
      return initialization === "on-demand" ? "DEBUG" : "INFO"
    case "initStart":
    case "restoreStart":
    case "restoreReport":
    case "start":
    case "report":
      return "INFO"
    default:
      return event satisfies never
  }
}

const failureFields = ({ status, errorType }: PlatformStatus): string[] => {
  if (status === "success") return []
  const name = status === "timeout" ? "timeout" : "error"
  return [`Status: ${name}`, ...(errorType === undefined || status === "timeout" ? [] : [`Error Type: ${errorType}`])]
}

const toText = (subject: PlatformSubject, event: PlatformEvent, at: Date): string[] => {
  const { settings, version } = subject.definition
  const runtime = () => {
    const { runtimeVersion, runtimeVersionArn: arn } = versionOf(subject)
    return `Runtime Version: ${runtimeVersion}\tRuntime Version ARN: ${arn}`
  }
  switch (event.type) {
    case "initStart":
      // What is done again within an event has begun once.
      return event.phase === "init" ? [`INIT_START ${runtime()}`] : []
    case "initReport": {
      if (levelOf(subject, event) === "DEBUG") return []
      const fields = [`Init Duration: ${shown(event.durationMs)}`, `Phase: ${event.phase}`, ...failureFields(event)]
      return [`INIT_REPORT ${fields.join("\t")}`]
    }
    case "restoreStart":
      return [`RESTORE_START ${runtime()}`]
    case "restoreReport":
      return [`RESTORE_REPORT ${[`Restore Duration: ${shown(event.durationMs)}`, ...failureFields(event)].join("\t")}`]
    case "start":
      return [`START RequestId: ${event.requestId} Version: ${version}`]
    case "runtimeDone": {
      const { requestId, status } = event
      const end = `END RequestId: ${requestId}`
      if (status !== "timeout") return [end]
      return [`${at.toISOString()} ${requestId} ${timeoutWords(settings.timeoutSeconds)}`, end]
    }
    case "report": {
      const { requestId, durationMs, billedMs, maxMemoryBytes, initMs, restoreMs, billedRestoreMs } = event
      const fields = [
        `REPORT RequestId: ${requestId}`,
        `Duration: ${shown(durationMs)}`,
        `Billed Duration: ${billedMs} ms`,
        `Memory Size: ${settings.memoryMiB} MB`,
        `Max Memory Used: ${toMiB(maxMemoryBytes)} MB`,
        ...(initMs === undefined ? [] : [`Init Duration: ${shown(initMs)}`]),
        ...(restoreMs === undefined ? [] : [`Restore Duration: ${shown(restoreMs)}`]),
        ...(billedRestoreMs === undefined ? [] : [`Billed Restore Duration: ${billedRestoreMs} ms`]),
        // What the function says itself of an error is in its own lines.
        ...(event.status === "error" ? [] : failureFields(event)),
      ]
      return [`${fields.join("\t")}${event.status === "success" || event.status === "error" ? "\t" : ""}`]
    }
    case "initRuntimeDone":
    case "restoreRuntimeDone":
      return []
    default:
      return event satisfies never
  }
}

/** What is said of a function that took longer than it may, in the log and to its caller. */
export const timeoutWords = (timeoutSeconds: number): string =>
  `Task timed out after ${timeoutSeconds.toFixed(2)} seconds`
