/** What callers are told of functions. */
import { functionArn, runtimeVersionArn, versionName } from "../../../../machines/functions/names.ts"
import type { FunctionVersion } from "../../../../machines/functions/rows.ts"
import type { Scope } from "../../../../machines/resources.ts"

/** A time as Lambda writes it of functions and layers: milliseconds, and a zone without a colon. */
export const toTimeText = (date: Date): string => date.toISOString().replace("Z", "+0000")

const stateOf = (version: FunctionVersion) => {
  if (version.state === "Pending")
    return { State: "Pending", StateReason: "The function is being created.", StateReasonCode: "Creating" }
  const failed = version.state === "Failed"
  return {
    State: version.state,
    ...(failed ? { StateReason: version.failure?.reason, StateReasonCode: version.failure?.code } : {}),
  }
}

/** Of an update in progress AWS says what it says of a creation. */
const updateOf = (version: FunctionVersion) => {
  if (version.state === "Pending" || version.updateState === null) return {}
  if (version.updateState === "InProgress")
    return {
      LastUpdateStatus: "InProgress",
      LastUpdateStatusReason: "The function is being created.",
      LastUpdateStatusReasonCode: "Creating",
    }
  const failed = version.updateState === "Failed"
  return {
    LastUpdateStatus: version.updateState,
    ...(failed
      ? { LastUpdateStatusReason: version.failure?.reason, LastUpdateStatusReasonCode: version.failure?.code }
      : {}),
  }
}

/** A version that is active has its snapshot. */
const isOptimised = ({ settings, number, state }: FunctionVersion) =>
  settings.snapStart === true && number > 0 && state === "Active"

/** A FunctionConfiguration; `qualifier` is how the version was asked for, and is what its ARN says. */
export const toConfiguration = (version: FunctionVersion, qualifier: string | undefined, scope: Scope) => {
  const { settings, name } = version
  const { logging } = settings
  return {
    Architectures: settings.architectures,
    CodeSha256: version.code.sha256,
    CodeSize: version.code.bytes,
    DeadLetterConfig: settings.deadLetterArn === null ? null : { TargetArn: settings.deadLetterArn },
    Description: settings.description,
    Environment: version.environment === undefined ? null : { Variables: version.environment },
    EphemeralStorage: { Size: settings.temporaryMiB },
    FunctionArn: functionArn(scope, name, qualifier),
    FunctionName: name,
    Handler: settings.handler,
    KMSKeyArn: settings.kmsKeyArn,
    LastModified: toTimeText(version.modifiedAt),
    Layers:
      version.layers.length === 0 ? null : version.layers.map(({ arn, bytes }) => ({ Arn: arn, CodeSize: bytes })),
    LoggingConfig: {
      LogFormat: logging.format,
      ApplicationLogLevel: logging.applicationLevel,
      SystemLogLevel: logging.systemLevel,
      LogGroup: logging.group ?? `/aws/lambda/${name}`,
    },
    MemorySize: settings.memoryMiB,
    PackageType: "Zip",
    RevisionId: version.revisionId,
    Role: settings.role,
    Runtime: settings.runtime,
    RuntimeVersionConfig: { RuntimeVersionArn: runtimeVersionArn(settings.runtime, scope.region) },
    SnapStart: {
      ApplyOn: settings.snapStart === true ? "PublishedVersions" : "None",
      OptimizationStatus: isOptimised(version) ? "On" : "Off",
    },
    Timeout: settings.timeoutSeconds,
    TracingConfig: { Mode: settings.tracing },
    Version: versionName(version.number),
    VpcConfig: settings.vpc ? { SubnetIds: [], SecurityGroupIds: [], VpcId: "", Ipv6AllowedForDualStack: false } : null,
    ...stateOf(version),
    ...updateOf(version),
  }
}

/** A version in a list of all: its ARN says its number. */
export const toListed = (version: FunctionVersion, scope: Scope) =>
  toConfiguration(version, versionName(version.number), scope)

/** What an operation that made or may have published a version answers. */
export const toMade = (version: FunctionVersion, scope: Scope) =>
  toConfiguration(version, version.number === 0 ? undefined : String(version.number), scope)
