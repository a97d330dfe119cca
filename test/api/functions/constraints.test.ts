import { describe, expect, it } from "vitest"
import { changeSettings, parseEnvironment, parseSettings } from "../../../src/api/aws/functions/settings/settings.ts"
import * as functionShapes from "../../../src/api/aws/functions/function-shapes.ts"
import * as layerShapes from "../../../src/api/aws/functions/layers/layer-shapes.ts"
import * as permissionShapes from "../../../src/api/aws/functions/access/permission-shapes.ts"
import * as publishingShapes from "../../../src/api/aws/functions/publishing/publishing-shapes.ts"
import * as settingShapes from "../../../src/api/aws/functions/settings/setting-shapes.ts"
import { putProvisionInput } from "../../../src/api/aws/functions/invoking/provision-operations.ts"
import { checkTags } from "../../../src/api/aws/functions/tags.ts"
import { operations } from "./operations.ts"
import type { StructureShape } from "../../../src/api/aws/shape.ts"
import { failuresOf } from "../../../src/api/aws/validation.ts"

/** One member's limits: what is just within, what is just beyond, and what AWS says of that. */
interface Check {
  readonly shape: StructureShape
  /** Where, as AWS writes it. */
  readonly at: string
  readonly good: readonly unknown[]
  readonly bad: readonly (readonly [value: unknown, constraint: string])[]
}

const create = functionShapes.createFunctionInput
const update = functionShapes.updateSettingsInput
const text = (length: number) => "x".repeat(length)
const longer = (max: number) => `length less than or equal to ${max}`
const shorter = (min: number) => `length greater than or equal to ${min}`
const more = (max: number) => `value less than or equal to ${max}`
const less = (min: number) => `value greater than or equal to ${min}`
const pattern = "regular expression pattern"

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
const rows: Record<string, readonly Check[]> = {
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
    length(permissionShapes.removePermissionInput, "StatementId", 100, { good: ["a.b"] }),
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
      good: ["$LATEST", "$LATEST.PUBLISHED", "7"],
      bad: [["live", pattern]],
    },
  ],
}

const nested = (at: string, value: unknown): Record<string, unknown> =>
  at.split(".").reduceRight<unknown>((inner, name) => ({ [name]: inner }), value) as Record<string, unknown>

const failuresAt = ({ shape, at }: Pick<Check, "shape" | "at">, value: unknown) => {
  const name = at
    .split(".")
    .map((part) => part.slice(0, 1).toLowerCase() + part.slice(1))
    .join(".")
  return failuresOf(shape, nested(at, value), "").filter((failure) => failure.includes(` at '${name}`))
}

/** The model's three members for a function's name, and whose they are. */
const arn = "arn:aws:lambda:eu-central-1:000000000000:function:name"
const plain = ["name", "000000000000:function:name", "function:name", arn]
const qualified = ["name:$LATEST", "name:1", `${arn}:live`]
const longArn = `${arn}:${text(128)}`
const functionNames = {
  FunctionName: {
    good: [...plain, ...qualified, text(140)],
    bad: [
      ["", shorter(1)],
      ["name:1:2", pattern],
      ["na.me", pattern],
      ["name:$LATEST.PUBLISHED", pattern],
      [longArn, longer(140)],
    ],
  },
  NamespacedFunctionName: {
    good: [...plain, ...qualified, "na.me", "name:$LATEST.PUBLISHED", longArn, text(256)],
    bad: [
      ["", shorter(1)],
      ["name:1:2", pattern],
      [text(257), longer(256)],
    ],
  },
  UnqualifiedFunctionName: {
    good: [...plain, text(140)],
    bad: [...qualified.map((name) => [name, pattern] as const), [text(141), longer(140)]],
  },
} as const satisfies Record<string, Pick<Check, "good" | "bad">>
const namespaced = new Set([
  "AddPermission",
  "DeleteFunction",
  "DeleteFunctionCodeSigningConfig",
  "DeleteFunctionEventInvokeConfig",
  "GetFunction",
  "GetFunctionCodeSigningConfig",
  "GetFunctionConfiguration",
  "GetFunctionEventInvokeConfig",
  "GetPolicy",
  "GetRuntimeManagementConfig",
  "Invoke",
  "InvokeAsync",
  "InvokeWithResponseStream",
  "ListFunctionEventInvokeConfigs",
  "ListVersionsByFunction",
  "PutFunctionEventInvokeConfig",
  "PutRuntimeManagementConfig",
  "RemovePermission",
  "UpdateFunctionEventInvokeConfig",
])
const unqualified = new Set(["GetFunctionRecursionConfig", "PutFunctionRecursionConfig"])

describe("The name of a function", () => {
  it.each(operations.flatMap(({ name, input }) => (input?.members["FunctionName"] ? [{ name, shape: input }] : [])))(
    "is what the model takes for $name",
    ({ name, shape }) => {
      const member = namespaced.has(name)
        ? "NamespacedFunctionName"
        : unqualified.has(name)
          ? "UnqualifiedFunctionName"
          : "FunctionName"
      const { good, bad } = functionNames[member]
      for (const value of good) expect(failuresAt({ shape, at: "FunctionName" }, value)).toEqual([])
      for (const [value, constraint] of bad)
        expect(failuresAt({ shape, at: "FunctionName" }, value).join("; ")).toContain(constraint)
    },
  )
})

describe("The table of constraints", () => {
  it.each(Object.entries(rows))("holds for %s", (_row, checks) => {
    expect(checks.length).toBeGreaterThan(0)
    for (const check of checks) {
      for (const value of check.good) expect([check.at, value, failuresAt(check, value)]).toEqual([check.at, value, []])
      for (const [value, constraint] of check.bad) {
        const failures = failuresAt(check, value)
        expect(failures.join("; ")).toContain(constraint)
      }
    }
  })

  it("takes no more than 4 KB of environment variables, and none that is the platform's", () => {
    const refusal =
      "Lambda was unable to configure your environment variables because the environment variables you have provided"
    expect(parseEnvironment({ Variables: { AB: text(4096 - 9) } })).toBeDefined()
    expect(() => parseEnvironment({ Variables: { AB: text(4096 - 8) } })).toThrow(
      `${refusal} exceeded the 4KB limit. String measured: {"AB"`,
    )
    expect(() => parseEnvironment({ Variables: { AWS_REGION: "x", MINE: "y" } })).toThrow(
      `${refusal} contains reserved keys that are currently not supported for modification. Reserved keys used in this request: AWS_REGION`,
    )
  })

  it("takes fifty tags, and none that is AWS's", () => {
    const tags = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`t${index}`, ""]))
    expect(checkTags(tags(50))).toEqual(tags(50))
    expect(() => checkTags(tags(51))).toThrow("The number of tags exceeds the limit of 50.")
    expect(() => checkTags({ "aws:mine": "" })).toThrow("aws:mine")
  })

  it("knows the runtimes that can be had, and says in AWS's words which cannot", () => {
    const needed = { FunctionName: "f", Role: "r", Handler: "h", Code: {} } as Parameters<typeof parseSettings>[0]
    const of = (Runtime: string) => () => parseSettings({ ...needed, Runtime })
    for (const runtime of [
      "nodejs20.x",
      "nodejs22.x",
      "nodejs24.x",
      "python3.13",
      "java21",
      "ruby3.3",
      "provided.al2",
      "provided.al2023",
    ])
      expect(of(runtime)().runtime).toBe(runtime)
    expect(of("cobol")).toThrow(
      "Value cobol at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs20.x, nodejs22.x, nodejs24.x, python3.13, java21, ruby3.3, provided.al2, provided.al2023] or be a valid ARN",
    )
    expect(of("dotnet8")).toThrow("Value dotnet8 at 'runtime'")
    expect(of("python3.7")).toThrow(
      "The runtime parameter of python3.7 is no longer supported for creating or updating AWS Lambda functions.",
    )
    expect(() => parseSettings(needed)).toThrow("Runtime and Handler are mandatory parameters")
  })

  it("has log levels for JSON alone", () => {
    const asked = { LoggingConfig: { LogFormat: "JSON", SystemLogLevel: "DEBUG" } } as Parameters<
      typeof changeSettings
    >[1]
    const before = parseSettings({
      FunctionName: "f",
      Role: "r",
      Handler: "h",
      Runtime: "python3.13",
      Code: {},
    } as Parameters<typeof parseSettings>[0])
    const json = changeSettings(before, asked)
    expect(json.logging).toEqual({ format: "JSON", applicationLevel: "INFO", systemLevel: "DEBUG", group: null })
    const text_ = { LoggingConfig: { LogFormat: "Text" } } as Parameters<typeof changeSettings>[1]
    expect(changeSettings(json, text_).logging).toEqual(before.logging)
    const leveled = { LoggingConfig: { ApplicationLogLevel: "INFO" } } as Parameters<typeof changeSettings>[1]
    expect(() => changeSettings(before, leveled)).toThrow(
      'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change the LogFormat to "JSON" and try again.',
    )
  })
})
