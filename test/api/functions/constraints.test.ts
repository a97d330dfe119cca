import { describe, expect, it } from "vitest"
import { changeSettings, parseEnvironment, parseSettings } from "../../../src/api/aws/functions/settings/settings.ts"
import { checkTags } from "../../../src/api/aws/functions/tags.ts"
import type { Shape } from "../../../src/api/aws/shape.ts"
import { failuresOf } from "../../../src/api/aws/validation.ts"
import { longer, pattern, rows, shorter, text, type Check } from "./constraint-rows.ts"
import { operations } from "./operations.ts"

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
const nameMemberOf = (operation: string): keyof typeof functionNames =>
  namespaced.has(operation)
    ? "NamespacedFunctionName"
    : unqualified.has(operation)
      ? "UnqualifiedFunctionName"
      : "FunctionName"

const toMemberName = (name: string) => name.slice(0, 1).toLowerCase() + name.slice(1)

/** What holds for a scalar, as AWS says it; words of an enum are looked at in model.test.ts. */
const saidOf = (shape: Shape): string[] => {
  if (shape.kind !== "string" && shape.kind !== "integer" && shape.kind !== "number") return []
  const noun = shape.kind === "string" ? "length" : "value"
  return [
    ...(shape.max === undefined ? [] : [`Member must have ${noun} less than or equal to ${shape.max}`]),
    ...(shape.min === undefined ? [] : [`Member must have ${noun} greater than or equal to ${shape.min}`]),
    ...(shape.kind === "string" && shape.pattern !== undefined
      ? [`Member must satisfy regular expression pattern: ${shape.pattern}`]
      : []),
  ]
}
/** A length of at least 0 is no limit. */
const isLimit = (said: string) => said !== "Member must have length greater than or equal to 0"

/** Every limit of a shape, as its refusal says it, by the name of its member. */
const limitsOf = (name: string, shape: Shape): string[] => {
  const inside = (kind: string, inner: Shape) =>
    saidOf(inner).some(isLimit) ? [`${name}: ${kind} must satisfy constraint: [${saidOf(inner).join(", ")}]`] : []
  if (shape.kind === "structure")
    return Object.entries(shape.members).flatMap(([inner, member]) => limitsOf(toMemberName(inner), member.shape))
  if (shape.kind === "map") return [...inside("Map keys", shape.key), ...inside("Map value", shape.value)]
  if (shape.kind !== "list")
    return saidOf(shape)
      .filter(isLimit)
      .map((said) => `${name}: ${said}`)
  const bounds = saidOf({ kind: "string", ...(shape.max === undefined ? {} : { max: shape.max }), min: shape.min ?? 0 })
  return [
    ...bounds.filter(isLimit).map((said) => `${name}: ${said}`),
    ...(shape.item.kind === "structure" ? limitsOf(name, shape.item) : inside("Member", shape.item)),
  ]
}

describe("The name of a function", () => {
  it.each(operations.flatMap(({ name, input }) => (input?.members["FunctionName"] ? [{ name, shape: input }] : [])))(
    "is what the model takes for $name",
    ({ name, shape }) => {
      const { good, bad } = functionNames[nameMemberOf(name)]
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

  it("has a value beyond every limit that an input has", () => {
    const beyond = new Set<string>()
    const ofNames = operations.flatMap(({ name, input: shape }) =>
      shape?.members["FunctionName"] === undefined
        ? []
        : [{ shape, at: "FunctionName", good: [], bad: functionNames[nameMemberOf(name)].bad }],
    )
    for (const { shape, at, bad } of [...Object.values(rows).flat(), ...ofNames])
      for (const [value] of bad)
        for (const failure of failuresOf(shape, nested(at, value), "")) {
          const [, path = "", constraint = ""] =
            / at '([^']*)' failed to satisfy constraint: (.*)$/s.exec(failure) ?? []
          beyond.add(`${path.split(".").at(-1)}: ${constraint}`)
        }
    const limits = new Set(operations.flatMap(({ input }) => (input === undefined ? [] : limitsOf("", input))))
    expect(limits.size).toBeGreaterThan(100)
    expect([...limits].filter((limit) => !beyond.has(limit))).toEqual([])
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
      "python3.11",
      "java21",
      "java25",
      "ruby3.3",
      "provided.al2",
      "provided.al2023",
    ])
      expect(of(runtime)().runtime).toBe(runtime)
    expect(of("cobol")).toThrow(
      "Value cobol at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs20.x, nodejs22.x, nodejs24.x, python3.13, python3.11, java21, java25, ruby3.3, provided.al2, provided.al2023] or be a valid ARN",
    )
    expect(of("dotnet8")).toThrow("Value dotnet8 at 'runtime'")
    expect(parseSettings({ ...needed, Runtime: "dotnet8" }, ["dotnet8"]).runtime).toBe("dotnet8")
    expect(() => parseSettings({ ...needed, Runtime: "dotnet6" }, ["dotnet8"])).toThrow("provided.al2023, dotnet8] or")
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
