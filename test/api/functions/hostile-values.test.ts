import type { Lambda } from "@aws-sdk/client-lambda"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { refusalOf } from "../api-under-test.ts"
import { codeOf, functionInput, startFunctions, type FunctionsUnderTest } from "./functions-under-test.ts"

const FunctionName = "app"

describe("A value that the database cannot hold, or HTTP cannot carry", () => {
  let under: FunctionsUnderTest
  let lambda: Lambda
  beforeAll(async () => {
    under = await startFunctions()
    lambda = under.client()
    await lambda.createFunction(await functionInput(FunctionName, { Publish: true }))
    await under.settling.settled()
  })
  afterAll(() => under?.[Symbol.asyncDispose]())

  const says = async (call: Promise<unknown>) => {
    const { name, status } = await refusalOf(call)
    return `${status} ${name}`
  }

  it.each([
    ["a NUL", "a\0b"],
    ["half of a surrogate pair", "a\ud800b"],
  ])("is refused as the caller's: %s in a text", async (_, text) => {
    const refused = "400 SerializationException"
    const created = await functionInput("other", { Description: text })
    expect(await says(lambda.createFunction(created))).toBe(refused)
    expect(await says(lambda.createFunction(await functionInput("other", { Tags: { [text]: "" } })))).toBe(refused)
    const Environment = { Variables: { NAME: text } }
    expect(await says(lambda.updateFunctionConfiguration({ FunctionName, Environment }))).toBe(refused)
    expect(await says(lambda.createAlias({ FunctionName, Name: "a", FunctionVersion: "1", Description: text }))).toBe(
      refused,
    )
  })

  it("is refused as the caller's: a NUL in a path or a query", async () => {
    const Resource = `arn:aws:lambda:us-east-1:000000000000:function:a\0b`
    expect(await says(lambda.listTags({ Resource }))).toMatch(/^400 /)
    expect(await says(lambda.untagResource({ Resource, TagKeys: ["a\0b"] }))).toMatch(/^400 /)
  })

  it("is as good as one that isn't there: a layer version of a number without end", async () => {
    await lambda.publishLayerVersion({ LayerName: "layer", Content: { ZipFile: await codeOf() } })
    const VersionNumber = 99_999_999_999
    expect(await says(lambda.getLayerVersion({ LayerName: "layer", VersionNumber }))).toBe(
      "404 ResourceNotFoundException",
    )
    await lambda.deleteLayerVersion({ LayerName: "layer", VersionNumber })
    expect(await says(lambda.getLayerVersionPolicy({ LayerName: "layer", VersionNumber }))).toBe(
      "404 ResourceNotFoundException",
    )
  })

  it.each(["line\r\nbreak", "nul\0", "汉"])("is refused in what a URL says of CORS: %j", async (text) => {
    for (const Cors of [{ AllowHeaders: [text] }, { ExposeHeaders: [text] }, { AllowOrigins: [text] }])
      expect(await says(lambda.createFunctionUrlConfig({ FunctionName, AuthType: "NONE", Cors }))).toMatch(/^400 /)
  })
})

describe("A function URL", () => {
  it("is a function's or an alias's, and no version's, however that is said", async () => {
    await using under = await startFunctions()
    const lambda = under.client()
    await lambda.createFunction(await functionInput(FunctionName, { Publish: true }))
    await under.settling.settled()
    for (const qualifier of ["1", "$LATEST"])
      expect(
        (await refusalOf(lambda.createFunctionUrlConfig({ FunctionName: `app:${qualifier}`, AuthType: "NONE" })))
          .status,
      ).toBe(400)
    expect((await lambda.listFunctionUrlConfigs({ FunctionName })).FunctionUrlConfigs).toEqual([])
  })
})
