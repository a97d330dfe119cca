import { describe, expect, it } from "vitest"
import { deserialize } from "../../src/api/aws/deserialize.ts"
import * as shapes from "../../src/api/aws/microvms/shapes.ts"
import { validate } from "../../src/api/aws/validation.ts"

const messageFor = (shape: Parameters<typeof validate>[0], input: unknown) => {
  try {
    validate(shape, deserialize(shape, input))
  } catch (error) {
    return (error as Error).message
  }
  return undefined
}

const image = {
  baseImageArn: "arn",
  codeArtifact: { uri: "s3://a/b" },
  buildRoleArn: "arn:aws:iam::000000000000:role/build",
  name: "app",
}
const run = { imageIdentifier: "arn" }
const one = (at: string, value: string, constraint: string) =>
  `1 validation error detected: Value '${value}' at '${at}' failed to satisfy constraint: ${constraint}`

describe("Validation says what AWS says", () => {
  it("of everything that is missing, at once and in its order", () => {
    expect(messageFor(shapes.createImageInput, { name: "app" })).toBe(
      "3 validation errors detected: Value null at 'baseImageArn' failed to satisfy constraint: Member must not be null; Value null at 'codeArtifact' failed to satisfy constraint: Member must not be null; Value null at 'buildRoleArn' failed to satisfy constraint: Member must not be null",
    )
  })

  it.each([
    [{ name: "x".repeat(65) }, one("name", "x".repeat(65), "Member must have length less than or equal to 64")],
    [{ name: "a b" }, one("name", "a b", "Member must satisfy regular expression pattern: [a-zA-Z0-9-_]+")],
    [
      { name: "" },
      "2 validation errors detected: Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1; Value '' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9-_]+",
    ],
    [
      { codeArtifact: { uri: "a b" } },
      one("codeArtifact.uri", "a b", "Member must satisfy regular expression pattern: [^\\s]+"),
    ],
    [
      { hooks: { microvmHooks: { run: "ON" } } },
      one("hooks.microvmHooks.run", "ON", "Member must satisfy enum value set: [DISABLED, ENABLED]"),
    ],
    [{ hooks: { port: 0 } }, one("hooks.port", "0", "Member must have value greater than or equal to 1")],
    [
      { cpuConfigurations: [{ architecture: "X86_64" }] },
      one("cpuConfigurations.1.member.architecture", "X86_64", "Member must satisfy enum value set: [ARM_64]"),
    ],
    [
      { additionalOsCapabilities: ["SOME"] },
      one(
        "additionalOsCapabilities",
        "[SOME]",
        "Member must satisfy constraint: [Member must satisfy enum value set: [ALL]]",
      ),
    ],
    [
      { resources: [{ minimumMemoryInMiB: 512 }, { minimumMemoryInMiB: 1024 }] },
      one(
        "resources",
        "[{minimumMemoryInMiB=512}, {minimumMemoryInMiB=1024}]",
        "Member must have length less than or equal to 1",
      ),
    ],
    [
      { resources: [{}] },
      "1 validation error detected: Value null at 'resources.1.member.minimumMemoryInMiB' failed to satisfy constraint: Member must not be null",
    ],
    [
      { tags: { "a!": "b" } },
      one(
        "tags",
        "{a!=b}",
        "Map keys must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: ([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)]",
      ),
    ],
    [
      { environmentVariables: { SECRET: "x".repeat(4097) } },
      "1 validation error detected: Value at 'environmentVariables' failed to satisfy constraint: Map value must satisfy constraint: [Member must have length less than or equal to 4096, Member must have length greater than or equal to 0]",
    ],
    [{ logging: {} }, one("logging", "{}", "Member must have exactly one of [disabled, cloudWatch] set")],
    [
      { egressNetworkConnectors: [null] },
      one(
        "egressNetworkConnectors",
        "[null]",
        "Member must satisfy constraint: [Member must have length less than or equal to 2048, Member must have length greater than or equal to 1, Member must not be null]",
      ),
    ],
  ])("of an image with %j", (change, message) => {
    expect(messageFor(shapes.createImageInput, { ...image, ...change })).toBe(message)
  })

  it.each([
    [
      { maximumDurationInSeconds: 28_801 },
      one("maximumDurationInSeconds", "28801", "Member must have value less than or equal to 28800"),
    ],
    [
      { runHookPayload: "s".repeat(4097) },
      "1 validation error detected: Value at 'runHookPayload' failed to satisfy constraint: Member must have length less than or equal to 4096",
    ],
    [
      { idlePolicy: { autoResumeEnabled: true } },
      "2 validation errors detected: Value null at 'idlePolicy.maxIdleDurationSeconds' failed to satisfy constraint: Member must not be null; Value null at 'idlePolicy.suspendedDurationSeconds' failed to satisfy constraint: Member must not be null",
    ],
    [
      { idlePolicy: { maxIdleDurationSeconds: 59, suspendedDurationSeconds: -1, autoResumeEnabled: true } },
      "2 validation errors detected: Value '59' at 'idlePolicy.maxIdleDurationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 60; Value '-1' at 'idlePolicy.suspendedDurationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 0",
    ],
  ])("of a run with %j", (change, message) => {
    expect(messageFor(shapes.runInput, { ...run, ...change })).toBe(message)
  })

  it("of a token's ports, by their place", () => {
    const token = {
      microvmIdentifier: "m",
      expirationInMinutes: 61,
      allowedPorts: [{ port: 80 }, { range: { startPort: 0, endPort: 70_000 } }],
    }
    expect(messageFor(shapes.authTokenInput, token)).toBe(
      "3 validation errors detected: Value '61' at 'expirationInMinutes' failed to satisfy constraint: Member must have value less than or equal to 60; Value '0' at 'allowedPorts.2.member.range.startPort' failed to satisfy constraint: Member must have value greater than or equal to 1; Value '70000' at 'allowedPorts.2.member.range.endPort' failed to satisfy constraint: Member must have value less than or equal to 65535",
    )
    expect(
      messageFor(shapes.authTokenInput, { ...token, expirationInMinutes: 1, allowedPorts: [{ allPorts: true }] }),
    ).toBe("Expected null")
    expect(messageFor(shapes.authTokenInput, { ...token, expirationInMinutes: 1, allowedPorts: [] })).toBe(
      one("allowedPorts", "[]", "Member must have length greater than or equal to 1"),
    )
  })

  it("at the very limits nothing", () => {
    expect(
      messageFor(shapes.runInput, { ...run, runHookPayload: "s".repeat(4096), maximumDurationInSeconds: 28_800 }),
    ).toBeUndefined()
    expect(
      messageFor(shapes.runInput, {
        ...run,
        idlePolicy: { maxIdleDurationSeconds: 60, suspendedDurationSeconds: 0, autoResumeEnabled: false },
      }),
    ).toBeUndefined()
    expect(
      messageFor(shapes.createImageInput, { ...image, name: "x".repeat(64), hooks: null, unknown: { deep: [] } }),
    ).toBeUndefined()
  })

  it("without ever repeating more than 2 KiB", () => {
    expect(messageFor(shapes.createImageInput, { ...image, name: "x".repeat(1_000_000) })?.length).toBeLessThan(2500)
  })
})
