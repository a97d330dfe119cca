/**
 * Every operation that is served, by the SDK: its success, each error of its model that it can give, what is not there, a stale revision,
 * and a caller who is not who he says. An operation or an error of the model without a word here fails.
 */
import { randomBytes, randomUUID } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Lambda } from "@aws-sdk/client-lambda"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { OpenEvents } from "../../../machines/functions/events/open-events.ts"
import { zipOf } from "../../../src/cli/sample.ts"
import { account, credentials, refusalOf, region } from "../api-under-test.ts"
import { functionInput, openQueue, startFunctions, type FunctionsUnderTest } from "./functions-under-test.ts"
import { operations } from "./operations.ts"
import { modelOperations, statusOf } from "./sdk-model.ts"

/** Errors of the model that nothing here gives, by their names' beginnings. */
const foreign: Record<string, string> = {
  "Capacity|FunctionVersionsPerCapacityProvider|NoPublishedVersion|ModeNotSupported": "no capacity providers",
  "CodeArtifactUser|S3Files": "code is kept here, not referred to",
  "CodeSigningConfigNotFound|CodeVerificationFailed|InvalidCodeSignature": "no code signing",
  DurableExecution: "no durable functions yet",
  "EC2|ENI|InvalidSecurityGroup|InvalidSubnet|SubnetIP": "no VPCs",
  EFS: "no file systems",
  KMS: "keys are stored and not used",
  "InvalidRuntime|InvalidZipFile": "a version whose code cannot be served is Failed, which is a conflict",
  RecursiveInvocation: "for what a header says, which is no member of an input: see invoking.test.ts",
  "RequestTooLarge|SerializedRequestEntityTooLarge": "the service itself answers RequestEntityTooLargeException",
  "ResourceNotReady|ServiceQuotaExceeded|UnsupportedMediaType": "nothing here is in such a state",
  "SnapStartException|SnapStartRegeneration|SnapStartTimeout": "where a snapshot does not do, an Init does",
  "ServiceException|TooManyRequests|InvalidParameterValue|LambdaServiceException": "of every operation",
}

interface Row {
  readonly ok: object
  /** What of a good input makes it one of something that is not there; `null` where that is no error. */
  readonly missing?: object | null
  /** By their names without `Exception`, what of a good input makes it one that is refused. */
  readonly gives?: Readonly<Record<string, object>>
  /** Those of the model that are not given: it waits, or nothing conflicts. */
  readonly never?: readonly string[]
}

const [role, arn] = ["arn:aws:iam::000000000000:role/lambda", `arn:aws:lambda:${region}:${account}:function`]
const layer = `arn:aws:lambda:${region}:${account}:layer:words:1`
const [app, kept] = [{ FunctionName: "app" }, { FunctionName: "kept" }]
const words = { LayerName: "words", VersionNumber: 1 }
const noVersion = { missing: { VersionNumber: 99 } }
const statement = { Action: "lambda:InvokeFunction", Principal: "s3.amazonaws.com" }
const ofLayer = { Action: "lambda:GetLayerVersion", Principal: "*" }
const never = ["ResourceConflict"]
const noLimit = ["PolicyLengthExceeded"]
const CODE_BYTES = 2 ** 20

/** Random bytes do not shrink. */
const large = { ZipFile: await zipOf({ "index.mjs": randomBytes(0.6 * CODE_BYTES).toString("latin1") }) }
const small = { ZipFile: await zipOf({ "index.mjs": "export const handler = () => 1\n" }) }
const ofHeld = { FunctionName: "held" }
const invocation = {
  ok: { ...app, Payload: "{}" },
  gives: {
    InvalidRequestContent: { Payload: "{" },
    ResourceConflict: ofHeld,
    SnapStartNotReady: { FunctionName: "snapped", Qualifier: "1" },
    TooManyRequests: { FunctionName: "quiet" },
  },
}

const rows: Record<string, Row> = {
  CreateFunction: {
    ok: { FunctionName: "new", Role: role, Runtime: "nodejs24.x", Handler: "index.handler", Code: small },
    missing: null,
    gives: { ResourceConflict: app, CodeStorageExceeded: { Code: large } },
  },
  GetFunction: { ok: app },
  GetFunctionConfiguration: { ok: app },
  ListFunctions: { ok: {} },
  UpdateFunctionCode: { ok: { ...app, ...small }, gives: { ResourceConflict: ofHeld, CodeStorageExceeded: large } },
  UpdateFunctionConfiguration: { ok: { FunctionName: "other", Timeout: 9 }, gives: { ResourceConflict: ofHeld } },
  DeleteFunction: { ok: { FunctionName: "spare" }, gives: { ResourceConflict: { ...app, Qualifier: "1" } } },
  Invoke: invocation,
  InvokeWithResponseStream: invocation,
  InvokeAsync: {
    ok: { ...app, InvokeArgs: "{}" },
    gives: { InvalidRequestContent: { InvokeArgs: "{" } },
    // It waits until the function can be invoked; only a published version's snapshot is waited for.
    never: [...never, "SnapStartNotReady"],
  },
  ListProvisionedConcurrencyConfigs: { ok: kept },
  GetProvisionedConcurrencyConfig: {
    ok: { ...kept, Qualifier: "live" },
    gives: { ProvisionedConcurrencyConfigNotFound: { Qualifier: "1" } },
  },
  PutProvisionedConcurrencyConfig: {
    ok: { ...kept, Qualifier: "live", ProvisionedConcurrentExecutions: 1 },
    gives: { ResourceConflict: { Qualifier: "1" } },
  },
  DeleteProvisionedConcurrencyConfig: { ok: { ...kept, Qualifier: "3" }, never },
  PublishVersion: {
    ok: { FunctionName: "quiet" },
    gives: { ResourceConflict: ofHeld, CodeStorageExceeded: { FunctionName: "large" } },
  },
  ListVersionsByFunction: { ok: app },
  CreateAlias: {
    ok: { ...app, Name: "next", FunctionVersion: "1" },
    gives: { ResourceConflict: { Name: "live" }, AliasLimitExceeded: { FunctionName: "kept", FunctionVersion: "1" } },
  },
  GetAlias: { ok: { ...app, Name: "live" }, missing: { Name: "nobody" } },
  UpdateAlias: {
    ok: { ...kept, Name: "live", Description: "now" },
    missing: { Name: "nobody" },
    gives: { ResourceConflict: { FunctionVersion: "2" } },
  },
  DeleteAlias: { ok: { ...kept, Name: "old" }, never },
  ListAliases: { ok: app },
  AddPermission: {
    ok: { ...app, ...statement, StatementId: "new" },
    gives: { ResourceConflict: { StatementId: "there" } },
    // Its limit is that of test/api/functions/settings.test.ts; whom a policy lets in is the account's own affair.
    never: [...noLimit, "PublicPolicy"],
  },
  RemovePermission: {
    ok: { ...app, StatementId: "there" },
    missing: { StatementId: "nothing" },
    never: ["PublicPolicy"],
  },
  GetPolicy: { ok: app },
  PutFunctionEventInvokeConfig: { ok: { ...app, MaximumRetryAttempts: 1 }, never },
  UpdateFunctionEventInvokeConfig: { ok: { ...app, MaximumRetryAttempts: 0 }, never },
  GetFunctionEventInvokeConfig: { ok: app },
  DeleteFunctionEventInvokeConfig: { ok: app, never },
  ListFunctionEventInvokeConfigs: { ok: app },
  CreateFunctionUrlConfig: { ok: { FunctionName: "other", AuthType: "NONE" }, gives: { ResourceConflict: app } },
  GetFunctionUrlConfig: { ok: app },
  UpdateFunctionUrlConfig: { ok: { ...app, AuthType: "AWS_IAM" }, never },
  DeleteFunctionUrlConfig: { ok: app, never },
  ListFunctionUrlConfigs: { ok: app },
  PutFunctionConcurrency: { ok: { ...app, ReservedConcurrentExecutions: 5 }, never },
  DeleteFunctionConcurrency: { ok: app, never },
  GetFunctionConcurrency: { ok: app },
  PutFunctionRecursionConfig: { ok: { ...app, RecursiveLoop: "Allow" }, never },
  GetFunctionRecursionConfig: { ok: app },
  PutRuntimeManagementConfig: { ok: { ...app, UpdateRuntimeOn: "Auto" }, never },
  GetRuntimeManagementConfig: { ok: app },
  ListTags: { ok: { Resource: `${arn}:app` }, missing: { Resource: `${arn}:nobody` } },
  TagResource: { ok: { Resource: `${arn}:app`, Tags: { a: "1" } }, missing: { Resource: `${arn}:nobody` }, never },
  UntagResource: { ok: { Resource: `${arn}:app`, TagKeys: ["a"] }, missing: { Resource: `${arn}:nobody` }, never },
  GetAccountSettings: { ok: {} },
  ListCodeSigningConfigs: { ok: {} },
  GetFunctionCodeSigningConfig: { ok: app },
  DeleteFunctionCodeSigningConfig: { ok: app, never },
  PublishLayerVersion: {
    ok: { LayerName: "new", Content: small },
    missing: null,
    gives: { CodeStorageExceeded: { Content: large } },
  },
  GetLayerVersionByArn: { ok: { Arn: layer }, missing: { Arn: layer.replace(":1", ":99") } },
  GetLayerVersion: { ok: words, ...noVersion },
  DeleteLayerVersion: { ok: { LayerName: "spare", VersionNumber: 1 }, missing: null },
  ListLayerVersions: { ok: { LayerName: "words" }, missing: null },
  ListLayers: { ok: {} },
  AddLayerVersionPermission: {
    ok: { ...words, ...ofLayer, StatementId: "new" },
    ...noVersion,
    gives: { ResourceConflict: { StatementId: "there" } },
    never: noLimit,
  },
  GetLayerVersionPolicy: { ok: words, ...noVersion },
  RemoveLayerVersionPermission: { ok: { ...words, StatementId: "there" }, ...noVersion },
}

/** Those of the model, as its documentation lists them. */
const errorsOf = (operation: string): string[] => {
  const module = fileURLToPath(import.meta.resolve("@aws-sdk/client-lambda"))
  const types = join(module, `../../dist-types/commands/${operation}Command.d.ts`)
  return [...readFileSync(types, "utf8").matchAll(/@throws \{@link (\w+)\}/g)].map(([, name = ""]) => name)
}
const isForeign = (name: string) =>
  Object.keys(foreign).some(
    (names) => new RegExp(`^(${names})`).test(name) && !/^ResourceNotFound|^CodeStorage/.test(name),
  )

/** How each answers when all is well. */
const statuses = new Map(
  operations.flatMap(({ name, input, status }) => (input === undefined ? [] : [[name, status] as const])),
)

let under: FunctionsUnderTest
/** A function of 129 MB is not prepared before, and no snapshot made. */
const holding = Promise.withResolvers<void>()
let events: OpenEvents
let lambda: Lambda
let stranger: Lambda
beforeAll(async () => {
  under = await startFunctions({ codeBytes: CODE_BYTES, aliases: 2 }, ({ settings, optimised }) =>
    settings.memoryMiB === 129 || optimised !== undefined ? holding.promise : Promise.resolve(),
  )
  events = await openQueue(under)
  lambda = under.client()
  stranger = under.client({ credentials: { ...credentials, secretAccessKey: "another" } })
  const publish = async (name: string) => lambda.createFunction(await functionInput(name, { Publish: true }))
  for (const name of ["app", "kept", "other", "quiet", "spare"]) await publish(name)
  await lambda.createFunction({ ...(await functionInput("large")), Code: large })
  const SnapStart = { ApplyOn: "PublishedVersions" } as const
  await lambda.createFunction(await functionInput("snapped", { SnapStart }))
  await under.settling.settled()
  await lambda.putFunctionConcurrency({ FunctionName: "quiet", ReservedConcurrentExecutions: 0 })
  await lambda.createAlias({ ...app, Name: "live", FunctionVersion: "1" })
  for (const [index, text] of ["two", "three"].entries()) {
    await lambda.updateFunctionConfiguration({ ...kept, Description: text })
    await under.settling.settled()
    expect(await lambda.publishVersion(kept)).toMatchObject({ Version: `${index + 2}` })
  }
  for (const Name of ["live", "old"]) await lambda.createAlias({ ...kept, Name, FunctionVersion: "1" })
  for (const Qualifier of ["live", "2", "3"])
    await lambda.putProvisionedConcurrencyConfig({ ...kept, Qualifier, ProvisionedConcurrentExecutions: 1 })
  await lambda.createFunctionUrlConfig({ ...app, AuthType: "NONE" })
  await lambda.addPermission({ ...app, ...statement, StatementId: "there" })
  for (const LayerName of ["words", "spare"]) await lambda.publishLayerVersion({ LayerName, Content: small })
  await lambda.addLayerVersionPermission({ ...words, ...ofLayer, StatementId: "there" })
  // The last: they are in others' way.
  await lambda.publishVersion({ FunctionName: "snapped" })
  await lambda.createFunction({ ...(await functionInput("held")), MemorySize: 129 })
})
afterAll(async () => {
  holding.resolve()
  await events.close(0)
  await under[Symbol.asyncDispose]()
})

const call = (
  client: Lambda,
  operation: string,
  input: object,
): Promise<{ $metadata: { httpStatusCode?: number } }> => {
  const method = `${operation.charAt(0).toLowerCase()}${operation.slice(1)}` as keyof Lambda
  return (client[method] as unknown as (given: object) => Promise<{ $metadata: { httpStatusCode?: number } }>).call(
    client,
    input,
  )
}

describe("Every operation that is served", () => {
  it("has its row here", () => {
    expect(Object.keys(rows).toSorted()).toEqual([...statuses.keys()].toSorted())
  })

  it.each(Object.entries(rows))("%s: what it refuses, and what it does", async (operation, row) => {
    const { ok, missing = { FunctionName: "nobody" }, gives = {}, never: notGiven = [] } = row
    const model = errorsOf(operation)
    const said = new Set(Object.keys(gives).map((name) => `${name}Exception`))
    const isRevised = Object.hasOwn(modelOperations.find(({ name }) => name === operation)?.input() ?? {}, "RevisionId")
    const unsaid = model.filter(
      (name) =>
        !said.has(name) &&
        !isForeign(name) &&
        !notGiven.includes(name.replace(/Exception$/, "")) &&
        name !== "ResourceNotFoundException" &&
        !(name === "PreconditionFailedException" && isRevised),
    )
    expect(unsaid, "errors of the model of which nothing is said").toEqual([])

    expect(await refusalOf(call(stranger, operation, ok))).toMatchObject({
      name: "InvalidSignatureException",
      status: 403,
    })
    if (model.includes("ResourceNotFoundException") && missing !== null)
      expect(await refusalOf(call(lambda, operation, { ...ok, ...missing }))).toMatchObject({
        name: "ResourceNotFoundException",
        status: 404,
      })
    if (isRevised)
      expect(await refusalOf(call(lambda, operation, { ...ok, RevisionId: randomUUID() }))).toMatchObject({
        name: "PreconditionFailedException",
        status: 412,
      })
    for (const [short, input] of Object.entries(gives)) {
      const name = `${short}Exception`
      const status = statusOf(name)
      expect(status).toBeDefined()
      expect(await refusalOf(call(lambda, operation, { ...ok, ...input }))).toMatchObject({ name, status })
    }

    const { $metadata } = await call(lambda, operation, ok)
    expect($metadata.httpStatusCode).toBe(statuses.get(operation))
  })
})
