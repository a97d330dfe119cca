/**
 * Inputs about functions, their code and their settings (spec §2.1). The order of members is the order in which AWS names what is
 * wrong with them. Members that would change what a function does and that Torpor hasn't are here to be refused by name.
 */
import { blob, boolean, integer, list, map, oneOf, optional, required, string, structure } from "../shape.ts"
import {
  architectures,
  deadLetter,
  description,
  functionName,
  handler,
  kmsKeyArn,
  layerArns,
  ofFunction,
  page,
  roleArn,
  tags,
} from "./fields.ts"

const logLevel = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"] as const

const codeMembers = {
  ZipFile: optional(blob()),
  S3Bucket: optional(string({ min: 3, max: 63, pattern: "[0-9A-Za-z.\\-_]*(?<!\\.)" })),
  S3Key: optional(string({ min: 1, max: 1024 })),
  S3ObjectVersion: optional(string({ min: 1, max: 1024 })),
  S3ObjectStorageMode: optional(oneOf("COPY", "REFERENCE")),
  ImageUri: optional(string()),
  SourceKMSKeyArn: optional(kmsKeyArn),
} as const

/** What a version runs with; the same at creation and later. */
const settings = {
  Description: optional(description),
  Timeout: optional(integer({ min: 1, max: 900 })),
  MemorySize: optional(integer({ min: 128, max: 10_240 })),
  VpcConfig: optional(
    structure({
      SubnetIds: optional(list(string(), { min: 0, max: 16 })),
      SecurityGroupIds: optional(list(string(), { min: 0, max: 5 })),
      Ipv6AllowedForDualStack: optional(boolean()),
    }),
  ),
  Environment: optional(
    structure({
      Variables: optional(map(string({ pattern: "[a-zA-Z]([a-zA-Z0-9_])+" }), string({ sensitive: true }))),
    }),
  ),
  DeadLetterConfig: optional(deadLetter),
  KMSKeyArn: optional(kmsKeyArn),
  TracingConfig: optional(structure({ Mode: optional(oneOf("Active", "PassThrough")) })),
  Layers: optional(layerArns),
  FileSystemConfigs: optional(
    list(
      structure({
        Arn: required(string({ min: 0, max: 200 })),
        LocalMountPath: required(string({ min: 0, max: 160, pattern: "/mnt/[a-zA-Z0-9-_.]+" })),
        S3FilesConfig: optional(structure({ DirectS3Read: optional(string()) })),
      }),
      { min: 0, max: 1 },
    ),
  ),
  ImageConfig: optional(
    structure({
      EntryPoint: optional(list(string(), { min: 0, max: 1500 })),
      Command: optional(list(string(), { min: 0, max: 1500 })),
      WorkingDirectory: optional(string({ min: 0, max: 1000 })),
    }),
  ),
  EphemeralStorage: optional(structure({ Size: required(integer({ min: 512, max: 10_240 })) })),
  SnapStart: optional(structure({ ApplyOn: optional(oneOf("PublishedVersions", "None")) })),
  LoggingConfig: optional(
    structure({
      LogFormat: optional(oneOf("JSON", "Text")),
      ApplicationLogLevel: optional(oneOf(...logLevel)),
      SystemLogLevel: optional(oneOf("DEBUG", "INFO", "WARN")),
      LogGroup: optional(string({ min: 1, max: 512, pattern: "[\\.\\-_/#A-Za-z0-9]+" })),
    }),
  ),
  CapacityProviderConfig: optional(structure({})),
  DurableConfig: optional(
    structure({
      KMSKeyArn: optional(kmsKeyArn),
      RetentionPeriodInDays: optional(integer({ min: 1, max: 90 })),
      ExecutionTimeout: optional(integer({ min: 1, max: 31_622_400 })),
    }),
  ),
} as const

export const createFunctionInput = structure({
  FunctionName: required(functionName),
  Role: required(roleArn),
  Code: required(structure(codeMembers)),
  /** Any text: what names no runtime is refused in other words than the rest. */
  Runtime: optional(string()),
  Handler: optional(handler),
  ...settings,
  Publish: optional(boolean()),
  PublishTo: optional(oneOf("LATEST_PUBLISHED")),
  PackageType: optional(oneOf("Zip", "Image")),
  Tags: optional(tags),
  CodeSigningConfigArn: optional(string({ min: 0, max: 200 })),
  Architectures: optional(architectures),
  TenancyConfig: optional(structure({ TenantIsolationMode: required(oneOf("PER_TENANT")) })),
})

export const updateSettingsInput = structure({
  ...ofFunction,
  Role: optional(roleArn),
  Runtime: optional(string()),
  Handler: optional(handler),
  ...settings,
  RevisionId: optional(string()),
})

export const updateCodeInput = structure({
  ...ofFunction,
  ...codeMembers,
  Architectures: optional(architectures),
  Publish: optional(boolean()),
  PublishTo: optional(oneOf("LATEST_PUBLISHED")),
  DryRun: optional(boolean()),
  RevisionId: optional(string()),
})

export const listFunctionsInput = structure({
  MasterRegion: optional(string({ pattern: "ALL|[a-z]{2}(-gov)?-[a-z]+-\\d{1}" }), "query"),
  FunctionVersion: optional(oneOf("ALL"), "query"),
  ...page(10_000),
})
