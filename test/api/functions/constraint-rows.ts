/** What is just within each limit of the inputs, and what just beyond: the fact sheet's table of constraints, and what the model's documentation adds. */
import * as functionShapes from "../../../src/api/aws/functions/function-shapes.ts"
import * as layerShapes from "../../../src/api/aws/functions/layers/layer-shapes.ts"
import * as permissionShapes from "../../../src/api/aws/functions/access/permission-shapes.ts"
import * as publishingShapes from "../../../src/api/aws/functions/publishing/publishing-shapes.ts"
import * as settingShapes from "../../../src/api/aws/functions/settings/setting-shapes.ts"
import { invokeInput } from "../../../src/api/aws/functions/invoking/invoke-shapes.ts"
import { putProvisionInput } from "../../../src/api/aws/functions/invoking/provision-operations.ts"
import type { StructureShape } from "../../../src/api/aws/shape.ts"

/** One member's limits: what is just within, what is just beyond, and what AWS says of that. */
export interface Check {
  readonly shape: StructureShape
  /** Where, as AWS writes it. */
  readonly at: string
  readonly good: readonly unknown[]
  readonly bad: readonly (readonly [value: unknown, constraint: string])[]
}

const create = functionShapes.createFunctionInput
const update = functionShapes.updateSettingsInput
const updateCode = functionShapes.updateCodeInput
const [permission, layerPermission] = [permissionShapes.addPermissionInput, permissionShapes.addLayerPermissionInput]
const organization = (characters: number) => `o-${"x".repeat(characters)}`
export const text = (length: number) => "x".repeat(length)
export const longer = (max: number) => `length less than or equal to ${max}`
export const shorter = (min: number) => `length greater than or equal to ${min}`
const more = (max: number) => `value less than or equal to ${max}`
const less = (min: number) => `value greater than or equal to ${min}`
export const pattern = "regular expression pattern"

const range = (shape: StructureShape, at: string, min: number, max?: number): Check => ({
  shape,
  at,
  good: max === undefined ? [min] : [min, max],
  bad: [[min - 1, less(min)] as const, ...(max === undefined ? [] : [[max + 1, more(max)] as const])],
})
const length = (shape: StructureShape, at: string, max: number, more_: Partial<Check> = {}): Check => ({
  shape,
  at,
  good: [text(max), ...(more_.good ?? [])],
  bad: [[text(max + 1), longer(max)], ...(more_.bad ?? [])],
})
const many = (shape: StructureShape, at: string, item: unknown, max: number): Check => ({
  shape,
  at,
  good: [Array.from({ length: max }, () => item)],
  bad: [[Array.from({ length: max + 1 }, () => item), longer(max)]],
})

/** The rows of the fact sheet's table of constraints, in its order. */
export const rows: Record<string, readonly Check[]> = {
  MemorySize: [range(create, "MemorySize", 128, 10_240), range(update, "MemorySize", 128, 10_240)],
  Timeout: [range(create, "Timeout", 1, 900), range(update, "Timeout", 1, 900)],
  "EphemeralStorage.Size": [range(create, "EphemeralStorage.Size", 512, 10_240)],
  "Handler / Description / Role": [
    length(create, "Handler", 128, { bad: [["a b", pattern]] }),
    length(create, "Description", 256, { good: [""] }),
    {
      shape: create,
      at: "Role",
      good: ["arn:aws:iam::000000000000:role/service/a+b=c,d.e@f", "arn:aws-cn:iam::123456789012:role/r"],
      bad: [
        ["role", pattern],
        ["arn:aws:iam::1:role/r", pattern],
      ],
    },
  ],
  "Env var name": [
    {
      shape: create,
      at: "Environment.Variables",
      good: [{ AB: "", A_1: "x" }],
      bad: [
        [{ A: "too short" }, "Map keys must satisfy constraint"],
        [{ "1A": "" }, "Map keys must satisfy constraint"],
        [{ "A-B": "" }, "Map keys must satisfy constraint"],
      ],
    },
  ],
  Architectures: [
    {
      shape: create,
      at: "Architectures",
      good: [["x86_64"], ["arm64"]],
      bad: [
        [[], shorter(1)],
        [["x86_64", "arm64"], longer(1)],
        [["riscv"], "Member must satisfy enum value set: [x86_64, arm64]"],
      ],
    },
  ],
  "Layers · VPC · FileSystemConfigs · ImageConfig": [
    { shape: create, at: "Layers", good: [[text(2048)]], bad: [[[text(2049)], longer(2048)]] },
    many(create, "VpcConfig.SubnetIds", "subnet-1", 16),
    many(create, "VpcConfig.SecurityGroupIds", "sg-1", 5),
    {
      shape: create,
      at: "FileSystemConfigs",
      good: [[{ Arn: "arn", LocalMountPath: "/mnt/a" }]],
      bad: [
        [
          [
            { Arn: "arn", LocalMountPath: "/mnt/a" },
            { Arn: "arn", LocalMountPath: "/mnt/b" },
          ],
          longer(1),
        ],
        [[{ Arn: "arn", LocalMountPath: "/srv/a" }], pattern],
        [[{ Arn: text(201), LocalMountPath: "/mnt/a" }], longer(200)],
        [[{ Arn: "arn", LocalMountPath: `/mnt/${text(156)}` }], longer(160)],
      ],
    },
    length(create, "ImageConfig.WorkingDirectory", 1000),
    many(create, "ImageConfig.Command", "a", 1500),
    many(create, "ImageConfig.EntryPoint", "a", 1500),
  ],
  Alias: [
    length(publishingShapes.createAliasInput, "Name", 128, {
      bad: [
        ["", shorter(1)],
        ["12", pattern],
        ["a.b", pattern],
      ],
    }),
    {
      shape: publishingShapes.createAliasInput,
      at: "RoutingConfig.AdditionalVersionWeights",
      good: [{ "2": 0 }, { "2": 1 }, { "2": 0.2 }],
      bad: [
        [{ "2": 1.1 }, "Map value must satisfy constraint"],
        [{ "2": -0.1 }, "Map value must satisfy constraint"],
        [{ two: 0.5 }, "Map keys must satisfy constraint"],
      ],
    },
  ],
  "StatementId · Action · EventSourceToken": [
    length(permissionShapes.addPermissionInput, "StatementId", 100, {
      bad: [
        ["", shorter(1)],
        ["a.b", pattern],
      ],
    }),
    length(permissionShapes.removePermissionInput, "StatementId", 100, { good: ["a.b"], bad: [["a b", pattern]] }),
    {
      shape: permissionShapes.addPermissionInput,
      at: "Action",
      good: ["lambda:*", "*", "lambda:InvokeFunction"],
      bad: [["s3:GetObject", pattern]],
    },
    length(permissionShapes.addPermissionInput, "EventSourceToken", 256),
  ],
  "ReservedConcurrentExecutions · Provisioned · MaximumRetryAttempts · MaximumEventAgeInSeconds · DestinationArn": [
    range(settingShapes.reserveInput, "ReservedConcurrentExecutions", 0),
    range(putProvisionInput, "ProvisionedConcurrentExecutions", 1),
    range(settingShapes.eventConfigInput, "MaximumRetryAttempts", 0, 2),
    range(settingShapes.eventConfigInput, "MaximumEventAgeInSeconds", 60, 21_600),
    {
      shape: settingShapes.eventConfigInput,
      at: "DestinationConfig.OnSuccess.Destination",
      good: ["", `arn:aws:sqs:eu-central-1:000000000000:${text(310)}`],
      bad: [
        [`arn:aws:sqs:eu-central-1:000000000000:${text(320)}`, longer(350)],
        ["queue", pattern],
      ],
    },
  ],
  "LogGroup · TagKey, TagValue": [
    length(create, "LoggingConfig.LogGroup", 512, {
      good: ["/aws/lambda/a.b-c_d#1"],
      bad: [
        ["", shorter(1)],
        ["a b", pattern],
      ],
    }),
    {
      shape: create,
      at: "Tags",
      good: [{ [text(128)]: text(256) }],
      bad: [
        [{ [text(129)]: "" }, "Map keys must satisfy constraint"],
        [{ a: text(257) }, "Map value must satisfy constraint"],
      ],
    },
  ],
  "LayerName · CompatibleRuntimes · Cors": [
    length(layerShapes.publishLayerInput, "LayerName", 140, { bad: [["a b", pattern]] }),
    many(layerShapes.publishLayerInput, "CompatibleRuntimes", "nodejs24.x", 15),
    many(settingShapes.createUrlInput, "Cors.AllowOrigins", "*", 100),
    many(settingShapes.createUrlInput, "Cors.AllowHeaders", "a", 100),
    many(settingShapes.createUrlInput, "Cors.ExposeHeaders", "a", 100),
    many(settingShapes.createUrlInput, "Cors.AllowMethods", "GET", 6),
    {
      shape: settingShapes.createUrlInput,
      at: "Cors.AllowMethods",
      good: [["DELETE"]],
      bad: [[["OPTIONS"], longer(6)]],
    },
    range(settingShapes.createUrlInput, "Cors.MaxAge", 0, 86_400),
  ],
  DurableConfig: [
    range(create, "DurableConfig.ExecutionTimeout", 1, 31_622_400),
    range(create, "DurableConfig.RetentionPeriodInDays", 1, 90),
  ],
  "TenantId · DurableExecutionName": [
    length(invokeInput, "TenantId", 256, {
      good: ["a.b_c:/=+-@ d"],
      bad: [
        ["", shorter(1)],
        ["a,b", pattern],
      ],
    }),
    length(invokeInput, "DurableExecutionName", 64, {
      bad: [
        ["", shorter(1)],
        ["a.b", pattern],
      ],
    }),
  ],
  "Code · KMS keys · DeadLetterConfig · CodeSigningConfigArn": [
    length(update, "Handler", 128),
    length(updateCode, "S3Bucket", 63, {
      good: ["a.b-c_d"],
      bad: [
        ["ab", shorter(3)],
        ["a/b", pattern],
        ["bucket.", pattern],
      ],
    }),
    ...["S3Key", "S3ObjectVersion"].map((at) => length(updateCode, at, 1024, { bad: [["", shorter(1)]] })),
    ...(
      [
        [updateCode, "SourceKMSKeyArn"],
        [create, "KMSKeyArn"],
      ] as const
    ).map(([shape, at]) => ({
      shape,
      at,
      good: ["", `arn:aws:kms:${text(9988)}`],
      bad: [
        [`arn:aws:kms:${text(9989)}`, longer(10_000)],
        ["key", pattern],
      ] as const,
    })),
    { shape: create, at: "DeadLetterConfig.TargetArn", good: ["", "arn:aws:sqs:r:0:q"], bad: [["queue", pattern]] },
    length(create, "CodeSigningConfigArn", 200),
  ],
  "MasterRegion · MaxItems": [
    {
      shape: functionShapes.listFunctionsInput,
      at: "MasterRegion",
      good: ["ALL", "eu-central-1", "us-gov-west-1"],
      bad: [["Frankfurt", pattern]],
    },
    range(functionShapes.listFunctionsInput, "MaxItems", 1, 10_000),
    range(layerShapes.listLayersInput, "MaxItems", 1, 50),
  ],
  "Principal · SourceArn · SourceAccount · PrincipalOrgID · OrganizationId": [
    { shape: permission, at: "Principal", good: ["*", "s3.amazonaws.com"], bad: [["a b", pattern]] },
    { shape: permission, at: "SourceArn", good: ["arn:aws:s3:::uploads"], bad: [["uploads", pattern]] },
    {
      shape: permission,
      at: "SourceAccount",
      good: ["000000000000"],
      bad: [
        ["0000000000000", longer(12)],
        ["account", pattern],
      ],
    },
    {
      shape: permission,
      at: "PrincipalOrgID",
      good: [organization(10), organization(32)],
      bad: [
        [organization(9), shorter(12)],
        [organization(33), longer(34)],
        ["organization", pattern],
      ],
    },
    { shape: permission, at: "EventSourceToken", good: ["a.b_c-1"], bad: [["a b", pattern]] },
    length(layerPermission, "StatementId", 100, { bad: [["a.b", pattern]] }),
    {
      shape: layerPermission,
      at: "Action",
      good: ["lambda:GetLayerVersion"],
      bad: [
        ["lambda:InvokeFunction", pattern],
        ["lambda:GetLayerVersions", longer(22)],
      ],
    },
    {
      shape: layerPermission,
      at: "Principal",
      good: ["*", "000000000000", "arn:aws:iam::000000000000:root"],
      bad: [["s3.amazonaws.com", pattern]],
    },
    {
      shape: layerPermission,
      at: "OrganizationId",
      good: [organization(10), organization(32)],
      bad: [
        [organization(33), longer(34)],
        ["organization", pattern],
      ],
    },
  ],
  "RuntimeVersionArn · Resource · TagKeys": [
    {
      shape: settingShapes.runtimeConfigInput,
      at: "RuntimeVersionArn",
      good: [`arn:aws:lambda:us-east-1::runtime:${text(2048 - 34)}`],
      bad: [
        [`arn:aws:lambda:us-east-1::runtime:${text(2049 - 34)}`, longer(2048)],
        ["arn", shorter(26)],
        [text(30), pattern],
      ],
    },
    length(settingShapes.tagInput, "Resource", 256, { bad: [["", shorter(1)]] }),
    {
      shape: settingShapes.untagInput,
      at: "TagKeys",
      good: [[text(128)]],
      bad: [
        [[text(129)], longer(128)],
        [[""], shorter(1)],
      ],
    },
  ],
  "Layer Arn · LicenseInfo · CompatibleArchitectures": [
    {
      shape: layerShapes.layerArnInput,
      at: "Arn",
      good: ["arn:aws:lambda:us-east-1:000000000000:layer:words:1", "arn:aws:lambda:::awslayer:words"],
      bad: [
        ["", shorter(1)],
        [text(141), longer(140)],
        ["words:1", pattern],
      ],
    },
    length(layerShapes.publishLayerInput, "LicenseInfo", 512),
    many(layerShapes.publishLayerInput, "CompatibleArchitectures", "arm64", 2),
    {
      shape: layerShapes.publishLayerInput,
      at: "LayerName",
      good: ["arn:aws:lambda:r:000000000000:layer:l"],
      bad: [["", shorter(1)]],
    },
  ],
  "What becomes a header (CORS)": [
    ...["AllowHeaders", "ExposeHeaders"].map((name) => ({
      shape: settingShapes.createUrlInput,
      at: `Cors.${name}`,
      good: [[text(1024)]],
      bad: [
        [[text(1025)], longer(1024)],
        [["line\r\nbreak"], pattern],
      ] as const,
    })),
    {
      shape: settingShapes.createUrlInput,
      at: "Cors.AllowOrigins",
      good: [[text(253)]],
      bad: [
        [[text(254)], longer(253)],
        [[""], shorter(1)],
      ],
    },
  ],
  "Qualifier · FunctionVersion (§1.3)": [
    length(settingShapes.qualifiedInput, "Qualifier", 128, {
      good: ["$LATEST", "$LATEST.PUBLISHED", "7", "live_a-b"],
      bad: [["a.b", pattern]],
    }),
    length(putProvisionInput, "Qualifier", 128, {
      good: ["$LATEST", "live"],
      bad: [
        ["", shorter(1)],
        ["$LATEST.PUBLISHED", pattern],
      ],
    }),
    {
      shape: publishingShapes.createAliasInput,
      at: "FunctionVersion",
      good: ["$LATEST", "$LATEST.PUBLISHED", "7", "1".repeat(1024)],
      bad: [
        ["live", pattern],
        ["", shorter(1)],
        ["1".repeat(1025), longer(1024)],
      ],
    },
    length(settingShapes.createUrlInput, "Qualifier", 128, {
      bad: [
        ["7", pattern],
        ["$LATEST", pattern],
      ],
    }),
    length(settingShapes.qualifiedInput, "Qualifier", 128, { bad: [["", shorter(1)]] }),
  ],
}
