import { paginateListFunctions, paginateListVersionsByFunction, type Lambda } from "@aws-sdk/client-lambda"
import { eq } from "drizzle-orm"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { functionVersions } from "../../../src/db/functions.ts"
import { account, refusalOf, region } from "../api-under-test.ts"
import { codeOf, functionInput, startFunctions, type FunctionsUnderTest } from "./functions-under-test.ts"

const arnOf = (name: string, qualifier?: string) =>
  `arn:aws:lambda:${region}:${account}:function:${name}${qualifier === undefined ? "" : `:${qualifier}`}`

describe("A function's versions and aliases", () => {
  let under: FunctionsUnderTest
  let lambda: Lambda
  beforeAll(async () => {
    under = await startFunctions()
    lambda = under.client()
  })
  afterAll(() => under?.[Symbol.asyncDispose]())

  const made = async (name: string, more = {}) => {
    const answer = await lambda.createFunction(await functionInput(name, more))
    await under.settling.settled()
    return answer
  }
  const changed = async (name: string, Description: string) => {
    await lambda.updateFunctionConfiguration({ FunctionName: name, Description })
    await under.settling.settled()
  }

  it("are numbered, stay as they were, and are the last one again while nothing has changed", async () => {
    await made("numbered", { Description: "first" })
    const before = await lambda.getFunctionConfiguration({ FunctionName: "numbered" })
    const one = await lambda.publishVersion({ FunctionName: "numbered", Description: "one" })
    expect(one).toMatchObject({
      Version: "1",
      FunctionArn: arnOf("numbered", "1"),
      Description: "one",
      State: "Active",
      LastUpdateStatus: "Successful",
    })
    const after = await lambda.getFunctionConfiguration({ FunctionName: "numbered" })
    expect(after.RevisionId).not.toBe(before.RevisionId)
    const again = await lambda.publishVersion({ FunctionName: "numbered" })
    expect([again.Version, again.RevisionId]).toEqual(["1", one.RevisionId])
    // An update that changes nothing is no change.
    await lambda.updateFunctionConfiguration({ FunctionName: "numbered" })
    await under.settling.settled()
    expect((await lambda.publishVersion({ FunctionName: "numbered" })).Version).toBe("1")

    await changed("numbered", "second")
    const wrong = lambda.publishVersion({ FunctionName: "numbered", CodeSha256: "x" })
    expect((await refusalOf(wrong)).message).toBe(
      `CodeSHA256 (x) is different from current CodeSHA256 in $LATEST (${one.CodeSha256}). Please try again with the CodeSHA256 in $LATEST.`,
    )
    expect((await lambda.publishVersion({ FunctionName: "numbered" })).Version).toBe("2")
    expect((await lambda.getFunctionConfiguration({ FunctionName: "numbered", Qualifier: "1" })).Description).toBe(
      "one",
    )
    const ofTwo = { FunctionName: "numbered", Qualifier: "2" }
    await lambda.putFunctionEventInvokeConfig({ ...ofTwo, MaximumRetryAttempts: 0 })
    await lambda.deleteFunction(ofTwo)
    const configs = await lambda.listFunctionEventInvokeConfigs({ FunctionName: "numbered" })
    expect(configs.FunctionEventInvokeConfigs).toEqual([])
    expect((await lambda.publishVersion({ FunctionName: "numbered" })).Version).toBe("3")
    const pages = []
    for await (const page of paginateListVersionsByFunction(
      { client: lambda, pageSize: 2 },
      { FunctionName: "numbered" },
    ))
      pages.push(page.Versions?.map(({ FunctionArn }) => FunctionArn))
    expect(pages).toEqual([[arnOf("numbered", "$LATEST"), arnOf("numbered", "1")], [arnOf("numbered", "3")]])
  })

  it("are published with what makes or changes the code, if that is asked", async () => {
    expect(await made("published", { Publish: true })).toMatchObject({
      Version: "1",
      FunctionArn: arnOf("published", "1"),
      State: "Pending",
    })
    const ZipFile = await codeOf("another")
    const updated = await lambda.updateFunctionCode({ FunctionName: "published", ZipFile, Publish: true })
    expect(updated).toMatchObject({ Version: "2", FunctionArn: arnOf("published", "2") })
    await under.settling.settled()
    const two = await lambda.getFunctionConfiguration({ FunctionName: "published", Qualifier: "2" })
    expect(two).toMatchObject({ State: "Active", LastUpdateStatus: "Successful", CodeSha256: updated.CodeSha256 })
  })

  it("are reached by aliases, which may share requests between two and are moved at once", async () => {
    await made("aliased", { Publish: true })
    await changed("aliased", "two")
    await lambda.publishVersion({ FunctionName: "aliased" })
    const alias = { FunctionName: "aliased", Name: "live" }
    const created = await lambda.createAlias({ ...alias, FunctionVersion: "1", Description: "what is live" })
    expect(created).toMatchObject({
      AliasArn: arnOf("aliased", "live"),
      Name: "live",
      FunctionVersion: "1",
      Description: "what is live",
    })
    expect(created.RoutingConfig).toBeUndefined()
    expect(await lambda.getFunctionConfiguration({ FunctionName: "aliased:live" })).toMatchObject({
      FunctionArn: arnOf("aliased", "live"),
      Version: "1",
    })
    const routing = { AdditionalVersionWeights: { "2": 0.25 } }
    const shared = await lambda.updateAlias({ ...alias, RoutingConfig: routing })
    expect(shared.RoutingConfig).toEqual(routing)
    expect(shared.RevisionId).not.toBe(created.RevisionId)
    expect((await lambda.updateAlias({ ...alias, Description: "" })).RoutingConfig).toEqual(routing)
    expect((await lambda.updateAlias({ ...alias, RoutingConfig: {} })).RoutingConfig).toBeUndefined()
    await lambda.createAlias({ FunctionName: "aliased", Name: "newest", FunctionVersion: "$LATEST" })
    const listed = async (FunctionVersion?: string) =>
      (await lambda.listAliases({ FunctionName: "aliased", FunctionVersion })).Aliases?.map(({ Name }) => Name)
    expect(await listed()).toEqual(["live", "newest"])
    expect(await listed("1")).toEqual(["live"])
    expect(await listed("7")).toEqual([])

    const says = async (call: Promise<unknown>) => {
      const { status, message } = await refusalOf(call)
      return [status, message]
    }
    expect(await says(lambda.createAlias({ ...alias, FunctionVersion: "1" }))).toEqual([
      409,
      `Alias already exists: ${arnOf("aliased", "live")}`,
    ])
    expect(await says(lambda.updateAlias({ ...alias, FunctionVersion: "10" }))).toEqual([
      404,
      `Function not found: ${arnOf("aliased", "10")}`,
    ])
    expect(
      await says(lambda.updateAlias({ ...alias, RoutingConfig: { AdditionalVersionWeights: { "1": 0.5 } } })),
    ).toEqual([400, "Invalid function version 1. Function version 1 is already included in routing configuration."])
    const two = { AdditionalVersionWeights: { "1": 0.1, "2": 0.1 } }
    expect(await says(lambda.updateAlias({ ...alias, RoutingConfig: two }))).toEqual([
      400,
      "Number of items in AdditionalVersionWeights cannot be greater than 1",
    ])
    expect(await says(lambda.updateAlias({ FunctionName: "aliased", Name: "newest", RoutingConfig: routing }))).toEqual(
      [400, "$LATEST is not supported for an alias pointing to more than 1 version"],
    )
    expect((await says(lambda.updateAlias({ ...alias, RevisionId: created.RevisionId })))[0]).toBe(412)
    expect(await says(lambda.deleteFunction({ FunctionName: "aliased", Qualifier: "1" }))).toEqual([
      409,
      "Unable to delete version because the following aliases reference it: [live]",
    ])
    expect(await says(lambda.deleteFunction({ FunctionName: "aliased", Qualifier: "live" }))).toEqual([
      400,
      "Deletion of aliases is not currently supported.",
    ])
    expect(await says(lambda.deleteFunction({ FunctionName: "aliased", Qualifier: "$LATEST" }))).toEqual([
      400,
      "$LATEST version cannot be deleted without deleting the function.",
    ])
    await lambda.deleteAlias(alias)
    await lambda.deleteAlias(alias)
    expect(await says(lambda.getAlias(alias))).toEqual([404, `Cannot find alias arn: ${arnOf("aliased", "live")}`])
    expect(await says(lambda.updateAlias(alias))).toEqual([404, `Alias not found: ${arnOf("aliased", "live")}`])
    await lambda.deleteFunction({ FunctionName: "aliased", Qualifier: "99" })
  })

  it("are refused while the function is at something", async () => {
    await made("busy")
    const cannot = "409 ResourceConflictException: The operation cannot be performed at this time."
    const states = [
      [
        { state: "Pending" },
        `${cannot} The resource ${arnOf("busy")} is currently in the following state: 'Pending'. StateReasonCode: Creating`,
      ],
      [
        { state: "Active", updateState: "InProgress" },
        `${cannot} An update is in progress for resource: ${arnOf("busy")}`,
      ],
    ] as const
    const latest = await lambda.getFunctionConfiguration({ FunctionName: "busy" })
    for (const [state, refusal] of states) {
      await under.db
        .update(functionVersions)
        .set(state)
        .where(eq(functionVersions.revisionId, latest.RevisionId ?? ""))
      const calls = [
        () => lambda.updateFunctionConfiguration({ FunctionName: "busy", Timeout: 1 }),
        async () => lambda.updateFunctionCode({ FunctionName: "busy", ZipFile: await codeOf() }),
        () => lambda.publishVersion({ FunctionName: "busy" }),
      ]
      for (const call of calls) {
        const { name, status, message } = await refusalOf(call())
        expect(`${status} ${name}: ${message}`).toBe(refusal)
      }
    }
    await lambda.tagResource({ Resource: arnOf("busy"), Tags: { always: "works" } })
    await lambda.deleteFunction({ FunctionName: "busy" })
  })

  it("are named in every form that AWS takes, and refused in its words where they are not the caller's", async () => {
    await made("named", { Publish: true })
    const get = (FunctionName: string, Qualifier?: string) =>
      lambda.getFunctionConfiguration({ FunctionName, Qualifier })
    const forms = ["named", "function:named", `${account}:function:named`, arnOf("named")]
    for (const form of forms) {
      expect((await get(form)).FunctionArn).toBe(arnOf("named"))
      expect((await get(`${form}:1`)).FunctionArn).toBe(arnOf("named", "1"))
      expect((await get(form, "$LATEST")).FunctionArn).toBe(arnOf("named", "$LATEST"))
    }
    const says = async (call: Promise<unknown>) => {
      const { name, status, message } = await refusalOf(call)
      return `${status} ${name}: ${message}`
    }
    expect(await says(get("named:1", "2"))).toBe(
      "400 InvalidParameterValueException: The derived qualifier from the function name does not match the specified qualifier.",
    )
    expect(await says(get("named", "7"))).toBe(
      `404 ResourceNotFoundException: Function not found: ${arnOf("named", "7")}`,
    )
    const published = `Function not found: ${arnOf("named", "$LATEST.PUBLISHED")}`
    expect(await says(get("named:$LATEST.PUBLISHED"))).toBe(`404 ResourceNotFoundException: ${published}`)
    expect(await says(lambda.invoke({ FunctionName: "named", Qualifier: "$LATEST.PUBLISHED" }))).toContain(published)
    expect(await says(lambda.invoke({ FunctionName: `${arnOf("named")}:${"x".repeat(128)}` }))).toContain(
      "404 Resource",
    )
    await lambda.deleteFunction({ FunctionName: "named", Qualifier: "$LATEST.PUBLISHED" })
    expect(await says(get("na.med"))).toBe(`404 ResourceNotFoundException: Function not found: ${arnOf("na.med")}`)
    expect(await says(get("nobody"))).toBe(`404 ResourceNotFoundException: Function not found: ${arnOf("nobody")}`)
    expect(await says(get(arnOf("named").replace(region, "us-east-1")))).toBe(
      `404 ResourceNotFoundException: Functions from 'us-east-1' are not reachable in this region ('${region}')`,
    )
    expect(await says(get(arnOf("named").replace(account, "111111111111")))).toContain("403 AccessDeniedException")
    expect(await says(get("a:b:c"))).toMatch(
      /^400 ValidationException: 1 validation error detected: Value 'a:b:c' at 'functionName'/,
    )
    expect(await says(lambda.createFunction(await functionInput("x".repeat(65))))).toBe(
      `400 InvalidParameterValueException: 1 validation error detected: Value '${"x".repeat(65)}' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64`,
    )
    expect(await says(get("x".repeat(65)))).toContain("404 ResourceNotFoundException")
    expect(await says(lambda.updateFunctionConfiguration({ FunctionName: "named:1" }))).toContain(
      "This operation is permitted on Lambda functions only.",
    )
  })

  it("are listed by name, all versions too, in pages that only their own list goes on with", async () => {
    const names = []
    for await (const page of paginateListFunctions({ client: lambda, pageSize: 2 }, {}))
      names.push(...(page.Functions ?? []).map(({ FunctionName }) => FunctionName))
    expect(names).toEqual([...new Set(names)].toSorted((a = "", b = "") => (a < b ? -1 : 1)))
    expect(names).toContain("named")
    const all = []
    for await (const page of paginateListFunctions({ client: lambda, pageSize: 3 }, { FunctionVersion: "ALL" }))
      all.push(...(page.Functions ?? []).map(({ FunctionArn }) => FunctionArn))
    expect(all).toEqual(expect.arrayContaining([arnOf("named", "$LATEST"), arnOf("named", "1")]))
    expect(new Set(all).size).toBe(all.length)
    const { NextMarker } = await lambda.listFunctions({ MaxItems: 1 })
    const misused = lambda.listFunctions({ Marker: NextMarker, FunctionVersion: "ALL" })
    expect((await refusalOf(misused)).message).toBe("Invalid Marker: it is not one that this list returned.")
  })
})
