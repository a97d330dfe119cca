import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { openKeeping } from "../../../machines/functions/provisioned/keeping.ts"
import { pino } from "pino"
import { refusalOf } from "../api-under-test.ts"
import { codeOf, functionInput, startFunctions, type FunctionsUnderTest } from "./functions-under-test.ts"

describe("Provisioned concurrency", () => {
  let functions: FunctionsUnderTest
  let lambda: ReturnType<FunctionsUnderTest["client"]>
  let names = 0
  beforeAll(async () => {
    functions = await startFunctions()
    lambda = functions.client()
  })
  afterAll(() => functions?.[Symbol.asyncDispose]())

  /** A function with two versions, and an alias of the first. */
  const create = async () => {
    const FunctionName = `f${names++}`
    await lambda.createFunction({ ...(await functionInput(FunctionName)), Publish: true })
    await functions.settling.settled()
    await lambda.updateFunctionCode({ FunctionName, ZipFile: await codeOf("two"), Publish: true })
    await functions.settling.settled()
    await lambda.createAlias({ FunctionName, Name: "prod", FunctionVersion: "1" })
    return FunctionName
  }
  const put = (FunctionName: string, Qualifier: string, ProvisionedConcurrentExecutions: number) =>
    lambda.putProvisionedConcurrencyConfig({ FunctionName, Qualifier, ProvisionedConcurrentExecutions })
  const state = async (FunctionName: string, Qualifier: string) => {
    const config = await lambda.getProvisionedConcurrencyConfig({ FunctionName, Qualifier })
    return [config.Status, config.AvailableProvisionedConcurrentExecutions]
  }
  const kept = (name: string) =>
    functions.environments
      .live()
      .filter(({ definition, initialization }) => definition.name === name && initialization !== "on-demand")
  const versionsOf = (name: string) =>
    kept(name)
      .map(({ definition }) => definition.version)
      .toSorted()

  it("is asked for, on its way, and there", async () => {
    const name = await create()
    const gate = Promise.withResolvers<void>()
    functions.memory.init = () => gate.promise
    expect(await put(name, "prod", 2)).toMatchObject({
      $metadata: { httpStatusCode: 202 },
      RequestedProvisionedConcurrentExecutions: 2,
      AllocatedProvisionedConcurrentExecutions: 0,
      AvailableProvisionedConcurrentExecutions: 0,
      Status: "IN_PROGRESS",
      LastModified: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000$/),
    })
    const read = () => lambda.getProvisionedConcurrencyConfig({ FunctionName: name, Qualifier: "prod" })
    await expect.poll(read).toMatchObject({
      Status: "IN_PROGRESS",
      AllocatedProvisionedConcurrentExecutions: 2,
      AvailableProvisionedConcurrentExecutions: 0,
    })
    gate.resolve()
    await expect.poll(() => state(name, "prod")).toEqual(["READY", 2])
    expect(await read()).toMatchObject({ AllocatedProvisionedConcurrentExecutions: 2 })
    expect(versionsOf(name)).toEqual(["1", "1"])
    const { ProvisionedConcurrencyConfigs: list } = await lambda.listProvisionedConcurrencyConfigs({
      FunctionName: name,
    })
    expect(list).toMatchObject([
      { FunctionArn: expect.stringMatching(/:prod$/), Status: "READY", RequestedProvisionedConcurrentExecutions: 2 },
    ])
    delete functions.memory.init
  })

  it("is used first, and beyond it others are started", async () => {
    const name = await create()
    await put(name, "1", 1)
    await expect.poll(() => state(name, "1")).toEqual(["READY", 1])
    const gate = Promise.withResolvers<void>()
    functions.memory.handler = () => gate.promise.then(() => ({ body: "1" }))
    const asked = [lambda.invoke({ FunctionName: name, Qualifier: "prod" })]
    await expect.poll(() => kept(name)[0]?.events).toBe(1)
    asked.push(lambda.invoke({ FunctionName: name, Qualifier: "1" }))
    const ofFunction = () => functions.environments.live().filter(({ definition }) => definition.name === name)
    await expect.poll(() => ofFunction().map(({ events }) => events)).toEqual([1, 1])
    gate.resolve()
    await Promise.all(asked)
    delete functions.memory.handler
    expect(ofFunction().map(({ initialization }) => initialization)).toEqual(["provisioned-concurrency", "on-demand"])
  })

  it("follows its alias, shares between two versions, and ends with it", async () => {
    const name = await create()
    await put(name, "prod", 4)
    await expect.poll(() => versionsOf(name)).toEqual(["1", "1", "1", "1"])
    const alias = { FunctionName: name, Name: "prod" }
    await lambda.updateAlias({ ...alias, RoutingConfig: { AdditionalVersionWeights: { "2": 0.25 } } })
    await expect.poll(() => versionsOf(name)).toEqual(["1", "1", "1", "2"])
    await lambda.updateAlias({ ...alias, FunctionVersion: "2", RoutingConfig: {} })
    await expect.poll(() => versionsOf(name)).toEqual(["2", "2", "2", "2"])
    await expect.poll(() => state(name, "prod")).toEqual(["READY", 4])
    await put(name, "prod", 1)
    await expect.poll(() => versionsOf(name)).toEqual(["2"])
    await lambda.deleteAlias(alias)
    await expect.poll(() => versionsOf(name)).toEqual([])
  })

  it("is replaced when it ends, taken over by the next daemon, and gone when it is given back", async () => {
    const name = await create()
    await put(name, "2", 1)
    await expect.poll(() => state(name, "2")).toEqual(["READY", 1])
    const [first] = kept(name)
    first?.end("host", "Its VM has died")
    const another = (than: unknown) => kept(name).filter((environment) => environment !== than).length
    await expect.poll(() => [kept(name).length, another(first)]).toEqual([1, 1])
    const [second] = kept(name)
    second?.end("host", "Its VM has died")
    await expect.poll(() => [kept(name).length, another(second)]).toEqual([1, 1])
    const { db, changes, invoking } = functions
    await using successor = await openKeeping({
      db,
      changes,
      resumes: true,
      ...invoking,
      log: pino({ level: "silent" }),
    })
    await successor.settled()
    expect(kept(name)).toHaveLength(1)
    await lambda.deleteProvisionedConcurrencyConfig({ FunctionName: name, Qualifier: "2" })
    await expect.poll(() => kept(name)).toEqual([])
    await lambda.deleteProvisionedConcurrencyConfig({ FunctionName: name, Qualifier: "2" })
  })

  it("has failed when an Init has, until it is asked for again", async () => {
    const name = await create()
    functions.memory.init = async () => ({ initFailure: "Runtime.ImportModuleError" })
    await put(name, "1", 2)
    const read = () => lambda.getProvisionedConcurrencyConfig({ FunctionName: name, Qualifier: "1" })
    await expect.poll(read).toMatchObject({
      Status: "FAILED",
      StatusReason: "FUNCTION_ERROR_INIT_FAILURE",
      AvailableProvisionedConcurrentExecutions: 0,
    })
    delete functions.memory.init
    await put(name, "1", 2)
    await expect.poll(() => state(name, "1")).toEqual(["READY", 2])
  })

  it("is not allocated while there is no room for it", async () => {
    const name = await create()
    // Those that nobody has asked to keep make room.
    const others = functions.environments.live().filter(({ initialization }) => initialization !== "on-demand")
    functions.memory.capacityMiB = 128 * (others.length + 1)
    expect(await put(name, "1", 2)).toMatchObject({ Status: "IN_PROGRESS" })
    const read = () => lambda.getProvisionedConcurrencyConfig({ FunctionName: name, Qualifier: "1" })
    await expect.poll(read).toMatchObject({
      Status: "IN_PROGRESS",
      AllocatedProvisionedConcurrentExecutions: 1,
      AvailableProvisionedConcurrentExecutions: 1,
    })
    delete functions.memory.capacityMiB
    await lambda.deleteProvisionedConcurrencyConfig({ FunctionName: name, Qualifier: "1" })
    await expect.poll(() => kept(name)).toEqual([])
  })

  it("keeps its alias from a version that has some of its own, and from what is unpublished", async () => {
    const name = await create()
    await put(name, "prod", 1)
    await put(name, "2", 1)
    const move = (change: {
      FunctionVersion?: string
      RoutingConfig?: { AdditionalVersionWeights?: Record<string, number> }
    }) => refusalOf(lambda.updateAlias({ FunctionName: name, Name: "prod", ...change }))
    const twice = {
      name: "ResourceConflictException",
      status: 409,
      message: "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
    }
    expect(await move({ FunctionVersion: "2" })).toMatchObject(twice)
    expect(await move({ RoutingConfig: { AdditionalVersionWeights: { "2": 0.1 } } })).toMatchObject(twice)
    expect(await move({ FunctionVersion: "$LATEST" })).toMatchObject({ name: "InvalidParameterValueException" })
    await lambda.deleteProvisionedConcurrencyConfig({ FunctionName: name, Qualifier: "2" })
    await lambda.updateAlias({ FunctionName: name, Name: "prod", FunctionVersion: "2" })
    await expect.poll(() => versionsOf(name)).toEqual(["2"])
    await lambda.createAlias({ FunctionName: name, Name: "bare", FunctionVersion: "1" })
    await put(name, "1", 1)
    await lambda.updateAlias({
      FunctionName: name,
      Name: "bare",
      RoutingConfig: { AdditionalVersionWeights: { "2": 0.5 } },
    })
  })

  it("is refused where it would not be what it is elsewhere", async () => {
    const name = await create()
    const messageOf = async (work: Promise<unknown>) => (await refusalOf(work)).message
    const unpublished = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    expect(await messageOf(put(name, "$LATEST", 1))).toBe(unpublished)
    await lambda.createAlias({ FunctionName: name, Name: "dev", FunctionVersion: "$LATEST" })
    expect(await messageOf(put(name, "dev", 1))).toBe(unpublished)
    expect(await refusalOf(put(name, "9", 1))).toMatchObject({ name: "ResourceNotFoundException", status: 404 })
    expect(await messageOf(put(name, "1", 0))).toMatch(/Value '0' at 'provisionedConcurrentExecutions' failed/)
    const absent = lambda.getProvisionedConcurrencyConfig({ FunctionName: name, Qualifier: "1" })
    expect(await refusalOf(absent)).toEqual({
      name: "ProvisionedConcurrencyConfigNotFoundException",
      status: 404,
      message: "No Provisioned Concurrency Config found for this function",
    })
    await put(name, "1", 2)
    expect(await refusalOf(put(name, "prod", 1))).toEqual({
      name: "ResourceConflictException",
      status: 409,
      message: "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
    })
    const reserve = (executions: number) =>
      lambda.putFunctionConcurrency({ FunctionName: name, ReservedConcurrentExecutions: executions })
    expect(await messageOf(reserve(1))).toMatch(
      /should not be lower than function's total provisioned concurrency \[2\]\.$/,
    )
    await reserve(3)
    expect(await messageOf(put(name, "2", 2))).toBe(
      "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
    )
    await put(name, "2", 1)
    await lambda.deleteFunctionConcurrency({ FunctionName: name })
    expect(await messageOf(put(name, "2", 900))).toMatch(/below its minimum value of \[100\]\.$/)
    await lambda.deleteProvisionedConcurrencyConfig({ FunctionName: name, Qualifier: "1" })
    await put(name, "prod", 1)
    expect(await messageOf(put(name, "1", 1))).toBe("Version is pointed to by a Provisioned Concurrency alias")
  })
})
