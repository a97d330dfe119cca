import { Lambda } from "@aws-sdk/client-lambda"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { Functions } from "../../../machines/functions/resources.ts"
import { createCodeLinks } from "../../../src/api/aws/functions/code/code-links.ts"
import { refusedOperations } from "../../../src/api/aws/functions/refused-operations.ts"
import { credentials, refusalOf, region, startApi, type ApiUnderTest } from "../api-under-test.ts"
import { signedJson, signedSend } from "../signed-fetch.ts"

describe("What Torpor's functions are not", () => {
  let api: ApiUnderTest
  let lambda: Lambda
  beforeAll(async () => {
    // Nothing of it is asked: every one of these is refused before.
    const functions = {} as Functions
    api = await startApi({ functions: { functions, links: createCodeLinks("", String), urlSuffix: "" } })
    lambda = new Lambda({ endpoint: api.url, region, credentials, maxAttempts: 1 })
  })
  afterAll(async () => {
    lambda.destroy()
    await api[Symbol.asyncDispose]()
  })

  const filled = (path: string) => path.replaceAll(/\{\w+\}/g, "x")

  it.each(refusedOperations)("is said of $name by name, and in Lambda's dialect", async ({ method, path }) => {
    const { status, json } = await signedJson(api.port, method, filled(path), method === "POST" ? {} : undefined)
    expect(status).toBe(400)
    expect(json).toEqual({ Type: "User", message: expect.stringMatching(/(isn't|aren't) supported/) })
  })

  it("is what it is made with, wherever ignoring it would make it another", async () => {
    const base = { FunctionName: "f", Role: "arn:aws:iam::000000000000:role/r", Handler: "h", Code: {} }
    const create = async (more: object) =>
      (await refusalOf(lambda.createFunction({ ...base, Runtime: "nodejs24.x", ...more }))).message
    const subnets = { VpcConfig: { SubnetIds: ["subnet-1"], SecurityGroupIds: [] } }
    expect(await create(subnets)).toContain("VpcConfig")
    expect(await create({ PackageType: "Image" })).toContain("PackageType Image")
    expect(await create({ Code: { ImageUri: "a/b:c" } })).toContain("PackageType Image")
    expect(await create({ FileSystemConfigs: [{ Arn: "arn", LocalMountPath: "/mnt/a" }] })).toContain(
      "FileSystemConfigs",
    )
    expect(await create({ ImageConfig: {} })).toContain("ImageConfig")
    expect(await create({ TenancyConfig: { TenantIsolationMode: "PER_TENANT" } })).toContain("TenancyConfig")
    expect(await create({ DurableConfig: { ExecutionTimeout: 1 } })).toContain("DurableConfig")
    expect(await create({ CodeSigningConfigArn: "arn" })).toContain("CodeSigningConfigArn")
    expect(await create({ PublishTo: "LATEST_PUBLISHED" })).toContain("PublishTo")
    expect(await create({ Code: { ZipFile: Buffer.from("x"), SourceKMSKeyArn: "arn:aws:kms:x" } })).toContain(
      "SourceKMSKeyArn",
    )
    expect(
      await create({
        CapacityProviderConfig: { LambdaManagedInstancesCapacityProviderConfig: { CapacityProviderArn: "x" } },
      }),
    ).toBe("CapacityProviderConfig isn't supported for Lambda Default functions.")
  })

  it("is what there is no memory for now: the SDK takes it for a throttle", async () => {
    const parts = { functions: {} as Functions, links: createCodeLinks("", String), urlSuffix: "" }
    await using full = await startApi({ functions: parts, maxBodiesBytes: 10 })
    const throttled = new Lambda({ endpoint: full.url, region, credentials, maxAttempts: 1 })
    expect(await refusalOf(throttled.publishVersion({ FunctionName: "f", Description: "many" }))).toMatchObject({
      name: "TooManyRequestsException",
      status: 429,
      message: "Rate exceeded",
    })
    throttled.destroy()
  })

  it("is told of everything that is wrong at once, without a type", async () => {
    const body = {
      FunctionName: "f",
      Role: "r",
      Code: {},
      MemorySize: 1,
      VpcConfig: { SubnetIds: Array(17).fill("s") },
    }
    const { status, json } = await signedJson(api.port, "POST", "/2015-03-31/functions/", body)
    expect(status).toBe(400)
    expect(Object.keys(json)).toEqual(["message"])
    const text = json["message"] as string
    expect(text).toMatch(
      /^3 validation errors detected: Value 'r' at 'role' failed .*; Value '1' at 'memorySize' failed .*; Value '\[s, .*\]' at 'vpcConfig\.subnetIds' failed/,
    )
    const tags = await signedJson(api.port, "DELETE", "/2017-03-31/tags/arn%3Aaws%3Alambda")
    expect(tags.json["message"]).toBe(
      "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null",
    )
  })

  it("is nothing that MicroVMs are: those keep their place and their dialect beside them", async () => {
    const arn = encodeURIComponent(`arn:aws:lambda:${region}:000000000000:microvm-image:app`)
    for (const path of [`/2017-03-31/tags/${arn}`, "/2026-04-04/network-connectors"])
      expect((await signedJson(api.port, "GET", path)).json["message"]).toMatch(/^Torpor does not support \w+ yet\.$/)
    expect((await signedSend(api.port, { path: "/2025-09-09/microvms" })).status).toBe(200)
    expect((await signedSend(api.port, { path: "/2015-03-31/nothing" })).headers["x-amzn-errortype"]).toBe(
      "UnknownOperationException",
    )
  })

  it("is a request without end", async () => {
    const large = {
      path: "/2015-03-31/functions/f/configuration",
      method: "PUT",
      body: "x".repeat(6 * 1024 * 1024 + 1),
    }
    expect((await signedSend(api.port, large)).status).toBe(413)
  })
})
