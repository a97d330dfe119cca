/** What an environment's agent is told of the function: its programs' variables, what is mounted for them, and their limits. */
import type { LanguageRuntime } from "../../images/runtimes/language.ts"
import { LANGUAGES } from "../../images/runtimes/languages.ts"
import { RUNTIME_PLACES } from "../../images/runtimes/runtime-disks.ts"
import { isRuntimeName, RUNTIMES, type Runtime } from "../../images/runtimes/runtimes.ts"
import type { DriveSpec, FunctionSpec, MountSpec } from "../../src/agent/protocol.ts"
import type { InitializationType } from "../environments/environments.ts"
import type { RoleCredentials } from "./roles.ts"
import type { Definition } from "./definition.ts"
import { FUNCTION_DRIVES, FUNCTION_PLACES } from "./disks/function-disks.ts"

/** The name of an environment's guest: what extensions that subscribe to telemetry listen by is its own name, which it resolves itself. */
export const FUNCTION_HOSTNAME = "sandbox.localdomain"

export interface FunctionSpecOptions {
  readonly initialization: InitializationType
  readonly logGroup: string
  readonly logStream: string
  /**
   * Whether a function has its share of a processor alone, as on AWS. On one that is emulated every function has all of it: that is less
   * than the smallest share of a real one.
   */
  readonly sharesProcessor?: boolean
  /** Of the function's role, where there are any. */
  readonly credentials?: RoleCredentials | undefined
}

/** AWS's sbx_user1051; no image has this user by name. */
const USER = "993:990"
const [PROCESSES_MAX, OPEN_FILES_MAX] = [1024, 1024]
/** A function with so much memory has one processor, and one with less a part of it. */
const MIB_PER_PROCESSOR = 1769
/** Nothing listens there, as on AWS while a function isn't traced. */
const XRAY = { address: "169.254.100.1", port: "2000" }

/** The drives that an environment mounts beside its runtime's. */
export const drivesOf = ({ layers }: Pick<Definition, "layers">): readonly DriveSpec[] => [
  { drive: FUNCTION_DRIVES.code, isReadOnly: true },
  ...(layers.length > 0 ? [{ drive: FUNCTION_DRIVES.layers, isReadOnly: true }] : []),
  { drive: FUNCTION_DRIVES.temporary, isReadOnly: false },
]

/** A runtime of this name; one that isn't ours is an image's, which has all of it at its places. */
const runtimeOf = (name: string): Runtime =>
  isRuntimeName(name) ? RUNTIMES[name] : { language: "provided", interpreter: { kind: "none" } }

const languageOf = (name: string): LanguageRuntime => LANGUAGES[runtimeOf(name).language]

export const toFunctionSpec = (definition: Definition, options: FunctionSpecOptions): FunctionSpec => {
  const { name, version, scope, settings } = definition
  const { runtime } = settings
  const language = languageOf(runtime)
  return {
    identity: {
      functionName: name,
      functionVersion: version,
      handler: settings.handler,
      accountId: scope.account,
    },
    runtime: {
      argv: ["/var/runtime/bootstrap", ...(language.argumentsOf?.(settings.memoryMiB) ?? [])],
      env: {
        ...defaultsOf(runtime),
        ...definition.environment,
        ...ownVariables(definition, runtime, options),
      },
      cwd: "/var/task",
      user: USER,
      capabilities: "default",
      memoryMaxMiB: settings.memoryMiB,
      pidsMax: PROCESSES_MAX,
      openFilesMax: OPEN_FILES_MAX,
      isRootReadOnly: true,
      mounts: mountsOf(definition, runtime),
      container: "app",
    },
    ...(options.sharesProcessor === true && settings.memoryMiB < MIB_PER_PROCESSOR
      ? { processorShare: settings.memoryMiB / MIB_PER_PROCESSOR }
      : {}),
    initializationType: options.initialization,
  }
}

/** Variables that are an environment's own, and no other's. */
const OWN = [
  "AWS_LAMBDA_LOG_GROUP_NAME",
  "AWS_LAMBDA_LOG_STREAM_NAME",
  "AWS_ACCESS_KEY_ID",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
]

/** The same of one whose memory others are launched from: without what is its own, and with a runtime that waits for its restore. */
export const toSnapshotSpec = (
  definition: Definition,
  options: Omit<FunctionSpecOptions, "initialization">,
): FunctionSpec => {
  const spec = toFunctionSpec(definition, { ...options, initialization: "snap-start" })
  const env = Object.fromEntries(Object.entries(spec.runtime.env).filter(([name]) => !OWN.includes(name)))
  return { ...spec, runtime: { ...spec.runtime, env } }
}

/** What an environment that was launched from such memory is told of itself. */
export const ownVariablesOf = ({ runtime: { env } }: FunctionSpec): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(env).filter(([name]) => OWN.includes(name)))

/** What a function's own variables may replace. */
const defaultsOf = (runtime: string): Readonly<Record<string, string>> => ({
  PATH: "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
  LD_LIBRARY_PATH: "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
  LANG: "en_US.UTF-8",
  TZ: ":UTC",
  AWS_XRAY_CONTEXT_MISSING: "LOG_ERROR",
  AWS_XRAY_DAEMON_ADDRESS: `${XRAY.address}:${XRAY.port}`,
  _AWS_XRAY_DAEMON_ADDRESS: XRAY.address,
  _AWS_XRAY_DAEMON_PORT: XRAY.port,
  ...languageOf(runtime).variablesOf?.(runtime),
})

const ownVariables = (
  { name, version, scope, settings }: Definition,
  runtime: string,
  { initialization, logGroup, logStream, credentials }: FunctionSpecOptions,
): Readonly<Record<string, string>> => {
  const { format, applicationLevel } = settings.logging
  return {
    _HANDLER: settings.handler,
    AWS_REGION: scope.region,
    AWS_DEFAULT_REGION: scope.region,
    ...(runtime.startsWith("provided") ? {} : { AWS_EXECUTION_ENV: `AWS_Lambda_${runtime}` }),
    AWS_LAMBDA_FUNCTION_NAME: name,
    AWS_LAMBDA_FUNCTION_VERSION: version,
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(settings.memoryMiB),
    AWS_LAMBDA_INITIALIZATION_TYPE: initialization,
    AWS_LAMBDA_LOG_GROUP_NAME: logGroup,
    AWS_LAMBDA_LOG_STREAM_NAME: logStream,
    LAMBDA_TASK_ROOT: "/var/task",
    LAMBDA_RUNTIME_DIR: "/var/runtime",
    ...(format === "JSON" ? { AWS_LAMBDA_LOG_FORMAT: "JSON", AWS_LAMBDA_LOG_LEVEL: applicationLevel ?? "INFO" } : {}),
    ...(credentials === undefined
      ? {}
      : {
          AWS_ACCESS_KEY_ID: credentials.accessKeyId,
          AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
          ...(credentials.sessionToken === undefined ? {} : { AWS_SESSION_TOKEN: credentials.sessionToken }),
        }),
  }
}

const mountsOf = ({ layers }: Definition, runtime: string): readonly MountSpec[] => [
  ...nodeOf(runtimeOf(runtime)),
  ...Object.entries(isRuntimeName(runtime) ? RUNTIME_PLACES : {}).map(([target, path]) =>
    bind(target, FUNCTION_DRIVES.runtime, path),
  ),
  bind("/var/task", FUNCTION_DRIVES.code, FUNCTION_PLACES.files),
  // Of a root disk it is empty.
  ...(layers.length > 0 ? [bind("/opt", FUNCTION_DRIVES.layers, FUNCTION_PLACES.files)] : []),
  { ...bind("/tmp", FUNCTION_DRIVES.temporary, FUNCTION_PLACES.temporary), isWritable: true },
]

/** The root disk's Node is the agent's, too. */
const nodeOf = ({ language, interpreter }: Runtime): readonly MountSpec[] =>
  language === "nodejs" && interpreter.kind === "root"
    ? Object.values(interpreter.links).map((target) => ({ kind: "node", target }))
    : []

const bind = (target: string, drive: number, path: string) => ({
  kind: "bind" as const,
  target,
  from: { drive, path: "" },
  path,
  copyTo: null,
})
