import * as sdk from "@aws-sdk/client-lambda"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { codeOf, functionInput, startFunctions, type FunctionsUnderTest } from "./functions-under-test.ts"

/** Each page of the SDK's own loop over a list of something. */
type Paginate = (config: { client: sdk.Lambda; pageSize: number }, input: object) => AsyncIterable<object>

const FunctionName = "app"
const LayerName = "words"
const refused = ["DurableExecution", "EventSourceMappings", "CapacityProvider", "ByCodeSigningConfig"]

/** What each list of the model has of what `beforeAll` makes. */
const lists: Record<string, readonly [input: object, member: string, items: number]> = {
  ListAliases: [{ FunctionName }, "Aliases", 2],
  ListCodeSigningConfigs: [{}, "CodeSigningConfigs", 0],
  ListFunctionEventInvokeConfigs: [{ FunctionName }, "FunctionEventInvokeConfigs", 3],
  ListFunctionUrlConfigs: [{ FunctionName }, "FunctionUrlConfigs", 3],
  ListFunctions: [{}, "Functions", 2],
  ListLayerVersions: [{ LayerName }, "LayerVersions", 2],
  ListLayers: [{}, "Layers", 2],
  ListProvisionedConcurrencyConfigs: [{ FunctionName }, "ProvisionedConcurrencyConfigs", 2],
  ListVersionsByFunction: [{ FunctionName }, "Versions", 3],
}

const paginators = Object.entries(sdk)
  .filter(([name]) => name.startsWith("paginate") && !refused.some((part) => name.includes(part)))
  .map(([name, paginate]) => [name.slice("paginate".length), paginate as unknown as Paginate] as const)

describe("What the SDK asks again and again", () => {
  let under: FunctionsUnderTest
  let client: sdk.Lambda
  beforeAll(async () => {
    under = await startFunctions()
    client = under.client()
    for (const name of [FunctionName, "other"])
      await client.createFunction({ ...(await functionInput(name)), Publish: true })
    await under.settling.settled()
    await client.updateFunctionCode({ FunctionName, ZipFile: await codeOf("two"), Publish: true })
    await under.settling.settled()
    for (const Name of ["live", "next"]) await client.createAlias({ FunctionName, Name, FunctionVersion: "1" })
    for (const Qualifier of [undefined, "live", "next"]) {
      await client.createFunctionUrlConfig({ FunctionName, Qualifier, AuthType: "NONE" })
      await client.putFunctionEventInvokeConfig({ FunctionName, Qualifier, MaximumRetryAttempts: 1 })
    }
    for (const Qualifier of ["live", "2"])
      await client.putProvisionedConcurrencyConfig({ FunctionName, Qualifier, ProvisionedConcurrentExecutions: 1 })
    for (const [name, word] of [
      [LayerName, "one"],
      [LayerName, "two"],
      ["others", "three"],
    ] as const)
      await client.publishLayerVersion({ LayerName: name, Content: { ZipFile: await codeOf(word) } })
  })
  afterAll(() => under?.[Symbol.asyncDispose]())

  it("are lists, each of which has its row here", () => {
    expect(paginators.map(([name]) => name).toSorted()).toEqual(Object.keys(lists).toSorted())
  })

  it.each(paginators)("%s comes in pages, each item once", async (name, paginate) => {
    const [input, member, count] = lists[name] ?? [{}, "", 0]
    const pages: unknown[][] = []
    for await (const page of paginate({ client, pageSize: 1 }, input))
      pages.push((page as Record<string, unknown[]>)[member] ?? [])
    expect(pages.map(({ length }) => length)).toEqual(count === 0 ? [0] : Array.from({ length: count }, () => 1))
    expect(new Set(pages.flat().map((item) => JSON.stringify(item))).size).toBe(count)
  })

  it("are states, until they are what is waited for", async () => {
    const config = { client, maxWaitTime: 60, minDelay: 0.01, maxDelay: 0.1 }
    const made = { FunctionName: "waited" }
    await client.createFunction(await functionInput("waited"))
    for (const wait of [sdk.waitUntilFunctionExists, sdk.waitUntilFunctionActive, sdk.waitUntilFunctionActiveV2])
      expect(await wait(config, made)).toMatchObject({ state: "SUCCESS" })
    for (const wait of [sdk.waitUntilFunctionUpdated, sdk.waitUntilFunctionUpdatedV2]) {
      await client.updateFunctionConfiguration({ ...made, Timeout: 9 })
      expect(await wait(config, made)).toMatchObject({ state: "SUCCESS" })
    }
    const { Version: Qualifier } = await client.publishVersion(made)
    const published = await sdk.waitUntilPublishedVersionActive(config, { ...made, Qualifier })
    expect(published).toMatchObject({ state: "SUCCESS" })
  })
})
