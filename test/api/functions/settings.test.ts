import type { Lambda } from "@aws-sdk/client-lambda"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { audit } from "../../../src/db/schema.ts"
import { account, refusalOf, region } from "../api-under-test.ts"
import { functionInput, startFunctions, type FunctionsUnderTest } from "./functions-under-test.ts"

const arn = `arn:aws:lambda:${region}:${account}:function:app`
const FunctionName = "app"

describe("What a function has beside its code", () => {
  let under: FunctionsUnderTest
  let lambda: Lambda
  beforeAll(async () => {
    under = await startFunctions({ concurrentExecutions: 500, unreservedExecutions: 20 })
    lambda = under.client()
    await lambda.createFunction(await functionInput(FunctionName, { Publish: true }))
    await under.settling.settled()
    await lambda.createAlias({ FunctionName, Name: "live", FunctionVersion: "1" })
  })
  afterAll(() => under?.[Symbol.asyncDispose]())

  const says = async (call: Promise<unknown>) => {
    const { name, status, message } = await refusalOf(call)
    return `${status} ${name}: ${message}`
  }
  const nothing = "404 ResourceNotFoundException: The resource you requested does not exist."

  it("is a policy for the function and for each alias, of statements that are kept as AWS writes them", async () => {
    const allowed = await lambda.addPermission({
      FunctionName,
      StatementId: "bucket",
      Action: "lambda:InvokeFunction",
      Principal: "s3.amazonaws.com",
      SourceArn: "arn:aws:s3:::uploads",
      SourceAccount: account,
    })
    const statement = {
      Sid: "bucket",
      Effect: "Allow",
      Principal: { Service: "s3.amazonaws.com" },
      Action: "lambda:InvokeFunction",
      Resource: arn,
      Condition: {
        StringEquals: { "AWS:SourceAccount": account },
        ArnLike: { "AWS:SourceArn": "arn:aws:s3:::uploads" },
      },
    }
    expect(JSON.parse(allowed.Statement ?? "")).toEqual(statement)
    const { Policy = "", RevisionId } = await lambda.getPolicy({ FunctionName })
    expect(JSON.parse(Policy)).toEqual({ Version: "2012-10-17", Id: "default", Statement: [statement] })

    const open = { FunctionName, Qualifier: "live", StatementId: "open", Action: "lambda:InvokeFunctionUrl" }
    const opened = await lambda.addPermission({ ...open, Principal: "*", FunctionUrlAuthType: "NONE" })
    expect(JSON.parse(opened.Statement ?? "")).toMatchObject({
      Principal: "*",
      Resource: `${arn}:live`,
      Condition: { StringEquals: { "lambda:FunctionUrlAuthType": "NONE" } },
    })
    const other = { ...open, Qualifier: undefined, StatementId: "account" }
    const added = await lambda.addPermission({ ...other, Principal: "123456789012", RevisionId })
    expect(JSON.parse(added.Statement ?? "")).toMatchObject({ Principal: { AWS: "arn:aws:iam::123456789012:root" } })

    expect(await says(lambda.addPermission({ ...other, Principal: "*" }))).toBe(
      "409 ResourceConflictException: The statement id (account) provided already exists. Please provide a new statement id, or remove the existing statement.",
    )
    expect(await says(lambda.addPermission({ ...other, StatementId: "x", Principal: "nobody" }))).toBe(
      "400 InvalidParameterValueException: The provided principal was invalid. Please check the principal and try again.",
    )
    expect(await says(lambda.addPermission({ ...open, Qualifier: "$LATEST", Principal: "*" }))).toBe(
      "400 InvalidParameterValueException: We currently do not support adding policies for $LATEST.",
    )
    const stale = { FunctionName, StatementId: "account", RevisionId }
    expect(await says(lambda.removePermission(stale))).toMatch(/^412 .* Call the GetPolicy API/)
    expect(await says(lambda.removePermission({ FunctionName, StatementId: "none" }))).toBe(
      "404 ResourceNotFoundException: Statement none is not found in resource policy.",
    )
    for (const StatementId of ["account", "bucket"]) await lambda.removePermission({ FunctionName, StatementId })
    expect(await says(lambda.getPolicy({ FunctionName }))).toBe(nothing)
    expect(await says(lambda.removePermission({ FunctionName, StatementId: "bucket" }))).toBe(nothing)
  })

  it("is a policy of at most 20 KB", async () => {
    const add = (index: number) =>
      lambda.addPermission({
        FunctionName,
        Qualifier: "1",
        StatementId: `statement-${index}`,
        Action: "lambda:InvokeFunction",
        Principal: "*",
        SourceArn: `arn:aws:s3:::${"x".repeat(1900)}`,
      })
    const errors: string[] = []
    for (let index = 0; index < 11; index++) await add(index).catch((error: Error) => errors.push(error.name))
    expect(errors).toEqual(["PolicyLengthExceededException", "PolicyLengthExceededException"])
  })

  it("is how its events are tried again, which PUT replaces and POST merges", async () => {
    const OnFailure = { Destination: "arn:aws:sqs:eu-central-1:000000000000:failed" }
    const put = await lambda.putFunctionEventInvokeConfig({
      FunctionName,
      MaximumRetryAttempts: 0,
      DestinationConfig: { OnFailure },
    })
    expect(put).toMatchObject({ FunctionArn: `${arn}:$LATEST`, MaximumRetryAttempts: 0 })
    expect(put.LastModified).toBeInstanceOf(Date)
    expect(put.MaximumEventAgeInSeconds).toBeUndefined()
    const merged = await lambda.updateFunctionEventInvokeConfig({ FunctionName, MaximumEventAgeInSeconds: 60 })
    expect(merged).toMatchObject({
      MaximumRetryAttempts: 0,
      MaximumEventAgeInSeconds: 60,
      DestinationConfig: { OnFailure },
    })
    const replaced = await lambda.putFunctionEventInvokeConfig({ FunctionName, MaximumEventAgeInSeconds: 61 })
    expect(replaced.MaximumRetryAttempts).toBeUndefined()
    expect(replaced.DestinationConfig).toEqual({ OnSuccess: {}, OnFailure: {} })
    await lambda.putFunctionEventInvokeConfig({ FunctionName, Qualifier: "live", MaximumRetryAttempts: 1 })
    const list = await lambda.listFunctionEventInvokeConfigs({ FunctionName })
    expect(list.FunctionEventInvokeConfigs?.map((config) => config.FunctionArn)).toEqual([
      `${arn}:$LATEST`,
      `${arn}:live`,
    ])
    expect(await says(lambda.putFunctionEventInvokeConfig({ FunctionName }))).toContain(
      "You must specify at least one of error handling or destination setting.",
    )
    const ours = "eu-central-1:000000000000"
    for (const Destination of [`arn:aws:lambda:${ours}:function:later:live`, "arn:aws:torpor:::webhook/hook"])
      await lambda.putFunctionEventInvokeConfig({ FunctionName, DestinationConfig: { OnSuccess: { Destination } } })
    for (const [Destination, why] of [
      [`arn:aws:events:${ours}:event-bus/default`, " EventBridge is not a destination here."],
      ["arn:aws:s3:::bucket", " S3 is not a destination here."],
      [`arn:aws:dynamodb:${ours}:table/t`, ""],
      [`arn:aws:sqs:${ours}:ordered.fifo`, ""],
      [
        `arn:aws:sns:${ours}:topic`,
        " Torpor is configured without an endpoint for it: destinations.sns in TORPOR_CONFIG.",
      ],
      [
        "arn:aws:torpor:::webhook/other",
        " Torpor is configured without this webhook: destinations.webhooks in TORPOR_CONFIG.",
      ],
      ["arn:aws:lambda:eu-west-1:000000000000:function:f", " It is a function of another account or region."],
    ] as const)
      expect(
        await says(
          lambda.putFunctionEventInvokeConfig({ FunctionName, DestinationConfig: { OnFailure: { Destination } } }),
        ),
      ).toBe(`400 InvalidParameterValueException: The destination ARN ${Destination} is invalid.${why}`)
    const TargetArn = "arn:aws:torpor:::webhook/hook"
    expect(await says(lambda.updateFunctionConfiguration({ FunctionName, DeadLetterConfig: { TargetArn } }))).toBe(
      `400 InvalidParameterValueException: The provided dead letter config TargetArn ${TargetArn} is invalid. A dead-letter queue is one of SQS or a topic of SNS.`,
    )
    await lambda.deleteFunctionEventInvokeConfig({ FunctionName })
    const missing = `404 ResourceNotFoundException: The function ${arn}:$LATEST doesn't have an EventInvokeConfig`
    expect(await says(lambda.getFunctionEventInvokeConfig({ FunctionName }))).toBe(missing)
    expect(await says(lambda.updateFunctionEventInvokeConfig({ FunctionName, MaximumRetryAttempts: 1 }))).toBe(missing)
    expect(await says(lambda.deleteFunctionEventInvokeConfig({ FunctionName }))).toBe(missing)
  })

  it("is an address, one for the function and one for each alias", async () => {
    const Cors = { AllowOrigins: ["*"], AllowMethods: ["GET"], MaxAge: 60 }
    const created = await lambda.createFunctionUrlConfig({ FunctionName, AuthType: "NONE", Cors })
    expect(created).toMatchObject({ FunctionArn: arn, AuthType: "NONE", Cors, InvokeMode: "BUFFERED" })
    expect(created.FunctionUrl).toMatch(/^https:\/\/[a-z0-9]{32}\.lambda-url\.localhost:7443\/$/)
    expect(created.CreationTime).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
    const ofAlias = { FunctionName, Qualifier: "live" }
    await lambda.createFunctionUrlConfig({ ...ofAlias, AuthType: "AWS_IAM", InvokeMode: "RESPONSE_STREAM" })
    const updated = await lambda.updateFunctionUrlConfig({ FunctionName, InvokeMode: "RESPONSE_STREAM" })
    expect(updated).toMatchObject({ FunctionUrl: created.FunctionUrl, Cors, InvokeMode: "RESPONSE_STREAM" })
    expect(await lambda.getFunctionUrlConfig(ofAlias)).toMatchObject({ AuthType: "AWS_IAM" })
    const { FunctionUrlConfigs = [] } = await lambda.listFunctionUrlConfigs({ FunctionName })
    expect(FunctionUrlConfigs.map((config) => config.FunctionArn)).toEqual([arn, `${arn}:live`])
    expect(await says(lambda.createFunctionUrlConfig({ FunctionName, AuthType: "NONE" }))).toBe(
      `409 ResourceConflictException: Failed to create function url config for [functionArn = ${arn}]. Error message:  FunctionUrlConfig exists for this Lambda function`,
    )
    expect(await says(lambda.getFunctionUrlConfig({ FunctionName, Qualifier: "1" }))).toContain(
      "400 ValidationException",
    )
    await lambda.deleteFunctionUrlConfig({ FunctionName })
    expect(await says(lambda.getFunctionUrlConfig({ FunctionName }))).toBe(nothing)
    expect(await says(lambda.deleteFunctionUrlConfig({ FunctionName }))).toBe(nothing)
    expect(await says(lambda.listFunctionUrlConfigs({ FunctionName: "nobody" }))).toContain(
      "404 ResourceNotFoundException: Function does not exist",
    )
  })

  it("is a share of the account's concurrency, of which the operator keeps some for everybody", async () => {
    expect((await lambda.getFunctionConcurrency({ FunctionName })).ReservedConcurrentExecutions).toBeUndefined()
    await lambda.putFunctionConcurrency({ FunctionName, ReservedConcurrentExecutions: 480 })
    expect((await lambda.getFunction({ FunctionName })).Concurrency).toEqual({ ReservedConcurrentExecutions: 480 })
    await lambda.createFunction(await functionInput("other"))
    expect(await says(lambda.putFunctionConcurrency({ FunctionName: "other", ReservedConcurrentExecutions: 1 }))).toBe(
      "400 InvalidParameterValueException: Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [20].",
    )
    // A caller names the region: another one has no share of its own.
    const elsewhere = under.client({ region: "us-west-2" })
    await elsewhere.createFunction(await functionInput(FunctionName))
    expect(await says(elsewhere.putFunctionConcurrency({ FunctionName, ReservedConcurrentExecutions: 1 }))).toContain(
      "UnreservedConcurrentExecution below its minimum value of [20]",
    )
    const replicas = await lambda.listFunctions({ MasterRegion: "us-west-2" })
    expect([replicas.Functions, replicas.NextMarker]).toEqual([[], undefined])
    const { AccountLimit, AccountUsage } = await elsewhere.getAccountSettings({})
    expect(AccountLimit).toEqual({
      TotalCodeSize: 80_530_636_800,
      CodeSizeUnzipped: 262_144_000,
      CodeSizeZipped: 52_428_800,
      ConcurrentExecutions: 500,
      UnreservedConcurrentExecutions: 20,
    })
    const { CodeSize = 0 } = await lambda.getFunctionConfiguration({ FunctionName })
    // Four versions of the same zip: each counts.
    expect(AccountUsage).toEqual({ TotalCodeSize: 4 * CodeSize, FunctionCount: 3 })
    expect(
      await says(lambda.putFunctionConcurrency({ FunctionName: "app:live", ReservedConcurrentExecutions: 1 })),
    ).toContain("400 InvalidParameterValueException: This operation is permitted on Lambda functions only.")
    expect(
      await says(lambda.putFunctionConcurrency({ FunctionName: "nobody", ReservedConcurrentExecutions: 1 })),
    ).toContain("function:nobody:$LATEST")
    await lambda.deleteFunctionConcurrency({ FunctionName })
    expect((await lambda.getFunction({ FunctionName })).Concurrency).toBeUndefined()
  })

  it("is its tags, what stops its loops, and when its runtime is replaced", async () => {
    await lambda.tagResource({ Resource: arn, Tags: { a: "1", b: "2" } })
    await lambda.tagResource({ Resource: arn, Tags: { b: "3", c: "4" } })
    await lambda.untagResource({ Resource: arn, TagKeys: ["a", "c"] })
    expect((await lambda.listTags({ Resource: arn })).Tags).toEqual({ b: "3" })
    expect(await says(lambda.listTags({ Resource: `${arn}:live` }))).toContain(
      "Tags on function aliases and versions are not supported.",
    )
    expect(await says(lambda.listTags({ Resource: arn.replace("app", "nobody") }))).toContain(
      "404 ResourceNotFoundException: Function not found",
    )

    expect((await lambda.getFunctionRecursionConfig({ FunctionName })).RecursiveLoop).toBe("Terminate")
    await lambda.putFunctionRecursionConfig({ FunctionName, RecursiveLoop: "Allow" })
    expect((await lambda.getFunctionRecursionConfig({ FunctionName })).RecursiveLoop).toBe("Allow")

    const before = await lambda.getRuntimeManagementConfig({ FunctionName })
    expect(before).toMatchObject({ UpdateRuntimeOn: "Auto", FunctionArn: `${arn}:$LATEST` })
    const { RuntimeVersionConfig } = await lambda.getFunctionConfiguration({ FunctionName })
    const { RuntimeVersionArn } = RuntimeVersionConfig ?? {}
    const manual = { FunctionName, Qualifier: "live", UpdateRuntimeOn: "Manual" } as const
    await lambda.putRuntimeManagementConfig({ ...manual, RuntimeVersionArn })
    expect(await lambda.getRuntimeManagementConfig({ FunctionName, Qualifier: "live" })).toMatchObject({
      UpdateRuntimeOn: "Manual",
      RuntimeVersionArn,
    })
    expect(await says(lambda.putRuntimeManagementConfig(manual))).toContain("You must specify the runtime version ARN")
    expect(
      await says(lambda.putRuntimeManagementConfig({ ...manual, RuntimeVersionArn: `${RuntimeVersionArn}0` })),
    ).toContain("is not one of nodejs24.x's")
    expect((await lambda.listCodeSigningConfigs({})).CodeSigningConfigs).toEqual([])
    expect(await lambda.getFunctionCodeSigningConfig({ FunctionName })).toMatchObject({ FunctionName })
  })

  it("is in the audit log whenever it was changed", async () => {
    const rows = await under.db.select({ action: audit.action }).from(audit)
    const actions = new Set(rows.map(({ action }) => action))
    for (const verb of [
      "permission-added",
      "event-config-changed",
      "event-config-deleted",
      "runtime-config-changed",
      "url-created",
      "concurrency-changed",
      "tagged",
      "recursion-changed",
    ])
      expect(actions).toContain(`function.${verb}`)
  })

  it("is gone with it, whatever it was", async () => {
    await lambda.putFunctionConcurrency({ FunctionName, ReservedConcurrentExecutions: 0 })
    await lambda.deleteFunction({ FunctionName })
    await lambda.createFunction(await functionInput(FunctionName))
    expect((await lambda.getFunction({ FunctionName })).Concurrency).toBeUndefined()
    expect((await lambda.listFunctionUrlConfigs({ FunctionName })).FunctionUrlConfigs).toEqual([])
    expect((await lambda.listAliases({ FunctionName })).Aliases).toEqual([])
  })
})
