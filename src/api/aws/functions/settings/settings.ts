/** How a function runs, as asked and as told. */
import type { FunctionLogging, FunctionSettings } from "../../../../db/function-values.ts"
import { defaultSettings } from "../../../../../machines/functions/default-settings.ts"
import { invalid } from "../../../../../machines/functions/refusals.ts"
import type { ValueOf } from "../../shape.ts"
import type { createFunctionInput, updateSettingsInput } from "../function-shapes.ts"
import { parseRuntime } from "../runtimes.ts"

type CreateInput = ValueOf<typeof createFunctionInput>
type UpdateInput = ValueOf<typeof updateSettingsInput>
type SharedInput = Omit<UpdateInput, "FunctionName" | "RevisionId">

const MAX_ENVIRONMENT_BYTES = 4096

/** What the platform sets itself in every environment. */
const reservedKeys = new Set([
  "_HANDLER",
  "_X_AMZN_TRACE_ID",
  "AWS_DEFAULT_REGION",
  "AWS_REGION",
  "AWS_EXECUTION_ENV",
  "AWS_LAMBDA_FUNCTION_NAME",
  "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
  "AWS_LAMBDA_FUNCTION_VERSION",
  "AWS_LAMBDA_INITIALIZATION_TYPE",
  "AWS_LAMBDA_LOG_GROUP_NAME",
  "AWS_LAMBDA_LOG_STREAM_NAME",
  "AWS_ACCESS_KEY",
  "AWS_ACCESS_KEY_ID",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
  "AWS_LAMBDA_RUNTIME_API",
  "LAMBDA_TASK_ROOT",
  "LAMBDA_RUNTIME_DIR",
])

const cannotConfigure =
  "Lambda was unable to configure your environment variables because the environment variables you have provided"

/** The environment variables of a request; `undefined` when it has none. */
export const parseEnvironment = (environment: CreateInput["Environment"]): Record<string, string> | undefined => {
  if (environment === undefined) return undefined
  const variables = environment.Variables ?? {}
  const reserved = Object.keys(variables).filter((key) => reservedKeys.has(key))
  if (reserved.length > 0)
    throw invalid(
      `${cannotConfigure} contains reserved keys that are currently not supported for modification. Reserved keys used in this request: ${reserved.join(", ")}`,
    )
  const text = JSON.stringify(variables)
  if (Buffer.byteLength(text) > MAX_ENVIRONMENT_BYTES)
    throw invalid(`${cannotConfigure} exceeded the 4KB limit. String measured: ${text.slice(0, MAX_ENVIRONMENT_BYTES)}`)
  return variables
}

const notSupported = (member: string, why = "isn't supported by Torpor") =>
  invalid(`${member} ${why}; leave ${member} out.`)

/** Refuses what would silently do nothing, or something else. */
export const refuseUnsupported = (input: SharedInput): void => {
  if ((input.FileSystemConfigs?.length ?? 0) > 0) throw notSupported("FileSystemConfigs")
  const { SubnetIds: subnets = [], SecurityGroupIds: groups = [] } = input.VpcConfig ?? {}
  if (subnets.length > 0 || groups.length > 0) throw notSupported("VpcConfig", "with subnets isn't supported by Torpor")
  if (input.ImageConfig !== undefined) throw notSupported("ImageConfig")
  if (input.CapacityProviderConfig !== undefined)
    throw invalid("CapacityProviderConfig isn't supported for Lambda Default functions.")
  if (input.DurableConfig !== undefined) throw notSupported("DurableConfig", "isn't supported by Torpor yet")
}

/** Refuses what only a creation can ask for. */
export const refuseUnsupportedCreation = (input: CreateInput): void => {
  if (input.PackageType === "Image" || input.Code.ImageUri !== undefined)
    throw notSupported("PackageType Image", "isn't supported by Torpor yet")
  refusePublishTo(input.PublishTo)
  if (input.CodeSigningConfigArn !== undefined) throw notSupported("CodeSigningConfigArn")
  if (input.TenancyConfig !== undefined) throw notSupported("TenancyConfig", "isn't supported by Torpor yet")
  refuseUnsupported(input)
}

/** Only functions on capacity providers are published to anything else than a number. */
export const refusePublishTo = (publishTo: string | undefined): void => {
  if (publishTo !== undefined) throw invalid("PublishTo isn't supported for Lambda Default functions.")
}

const parseLogging = (logging: SharedInput["LoggingConfig"], before: FunctionLogging): FunctionLogging => {
  if (logging === undefined) return before
  const format = logging.LogFormat ?? before.format
  const group = logging.LogGroup ?? before.group
  if (format === "Text") {
    if (logging.ApplicationLogLevel !== undefined || logging.SystemLogLevel !== undefined)
      throw invalid(
        'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change the LogFormat to "JSON" and try again.',
      )
    return { format, group, applicationLevel: null, systemLevel: null }
  }
  return {
    format,
    group,
    applicationLevel: logging.ApplicationLogLevel ?? before.applicationLevel ?? "INFO",
    systemLevel: logging.SystemLogLevel ?? before.systemLevel ?? "INFO",
  }
}

const orNull = (text: string) => (text === "" ? null : text)

const hasSnapStart = ({ snapStart }: FunctionSettings, { SnapStart }: SharedInput): boolean =>
  SnapStart === undefined ? snapStart === true : SnapStart.ApplyOn === "PublishedVersions"

/** The settings with what was asked changed in them; `mapped` are runtimes of the operator's. */
export const changeSettings = (
  before: FunctionSettings,
  input: SharedInput,
  mapped: readonly string[] = [],
): FunctionSettings => ({
  runtime: input.Runtime === undefined ? before.runtime : parseRuntime(input.Runtime, mapped),
  handler: input.Handler ?? before.handler,
  role: input.Role ?? before.role,
  description: input.Description ?? before.description,
  timeoutSeconds: input.Timeout ?? before.timeoutSeconds,
  memoryMiB: input.MemorySize ?? before.memoryMiB,
  temporaryMiB: input.EphemeralStorage?.Size ?? before.temporaryMiB,
  architectures: before.architectures,
  layers: input.Layers ?? before.layers,
  logging: parseLogging(input.LoggingConfig, before.logging),
  tracing: input.TracingConfig?.Mode ?? before.tracing,
  deadLetterArn:
    input.DeadLetterConfig === undefined ? before.deadLetterArn : orNull(input.DeadLetterConfig.TargetArn ?? ""),
  kmsKeyArn: input.KMSKeyArn === undefined ? before.kmsKeyArn : orNull(input.KMSKeyArn),
  vpc: before.vpc || input.VpcConfig !== undefined,
  ...(hasSnapStart(before, input) ? { snapStart: true } : {}),
})

/** A new function's settings. */
export const parseSettings = (input: CreateInput, mapped: readonly string[] = []): FunctionSettings => {
  if (input.Runtime === undefined || input.Handler === undefined)
    throw invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
  const settings = changeSettings(defaultSettings, input, mapped)
  return { ...settings, architectures: input.Architectures ?? settings.architectures }
}
