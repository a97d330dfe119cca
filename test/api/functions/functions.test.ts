import { createHash } from "node:crypto"
import { tmpdir } from "node:os"
import { Readable } from "node:stream"
import { waitUntilFunctionActiveV2, waitUntilFunctionUpdatedV2, type Lambda } from "@aws-sdk/client-lambda"
import { eq, sql } from "drizzle-orm"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { createTurns } from "../../../machines/building/turns.ts"
import { openCode, type CodeSource } from "../../../machines/functions/code/code-source.ts"
import { CODE_PLACE } from "../../../machines/functions/code/code-store.ts"
import { functions, functionUsage, functionVersions } from "../../../src/db/functions.ts"
import { createCodeLinks } from "../../../src/api/aws/functions/code/code-links.ts"
import { account, otherCredentials, refusalOf, region } from "../api-under-test.ts"
import { signedJson, signedSend } from "../signed-fetch.ts"
import {
  codeOf,
  functionInput,
  LINK_SECRET,
  role,
  startFunctions,
  type FunctionsUnderTest,
} from "./functions-under-test.ts"

const arnOf = (name: string) => `arn:aws:lambda:${region}:${account}:function:${name}`
const sha256Of = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("base64")

describe("A function", () => {
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
  const zipsKept = () => under.store.bucket(CODE_PLACE.account, CODE_PLACE.bucket).objects.size

  it("is answered with AWS's defaults, Pending, and is Active once its code is stored and read back", async () => {
    const zip = await codeOf()
    const body = {
      FunctionName: "defaults",
      Role: role,
      Runtime: "python3.13",
      Handler: "a.b",
      Code: { ZipFile: zip.toString("base64") },
    }
    const { status, json } = await signedJson(under.api.port, "POST", "/2015-03-31/functions", body)
    expect([status, json]).toEqual([
      201,
      {
        Architectures: ["x86_64"],
        CodeSha256: sha256Of(zip),
        CodeSize: zip.length,
        Description: "",
        EphemeralStorage: { Size: 512 },
        FunctionArn: arnOf("defaults"),
        FunctionName: "defaults",
        Handler: "a.b",
        LastModified: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000$/),
        LoggingConfig: { LogFormat: "Text", LogGroup: "/aws/lambda/defaults" },
        MemorySize: 128,
        PackageType: "Zip",
        RevisionId: expect.stringMatching(/^[0-9a-f-]{36}$/),
        Role: role,
        Runtime: "python3.13",
        RuntimeVersionConfig: { RuntimeVersionArn: expect.stringMatching(/::runtime:[0-9a-f]{64}$/) },
        SnapStart: { ApplyOn: "None", OptimizationStatus: "Off" },
        State: "Pending",
        StateReason: "The function is being created.",
        StateReasonCode: "Creating",
        Timeout: 3,
        TracingConfig: { Mode: "PassThrough" },
        Version: "$LATEST",
      },
    ])
    const waited = await waitUntilFunctionActiveV2({ client: lambda, maxWaitTime: 60 }, { FunctionName: "defaults" })
    expect(waited.state).toBe("SUCCESS")
    const settled = await lambda.getFunctionConfiguration({ FunctionName: "defaults" })
    expect(settled).toMatchObject({ State: "Active", LastUpdateStatus: "Successful" })
    expect(settled.StateReasonCode).toBeUndefined()
    expect(settled.RevisionId).not.toBe(json["RevisionId"])
  })

  it("says everything it was given, and keeps it through a change of another setting", async () => {
    const given = {
      Description: "all of it",
      Timeout: 900,
      MemorySize: 10_240,
      EphemeralStorage: { Size: 10_240 },
      Environment: { Variables: { AB: "c", EMPTY: "" } },
      TracingConfig: { Mode: "Active" as const },
      DeadLetterConfig: { TargetArn: "arn:aws:sqs:eu-central-1:000000000000:dead" },
      KMSKeyArn: "arn:aws:kms:eu-central-1:000000000000:key/one",
      LoggingConfig: { LogFormat: "JSON" as const, LogGroup: "mine" },
      Architectures: ["arm64" as const],
    }
    const created = await made("full", { ...given, Tags: { team: "core" }, VpcConfig: {} })
    const logging = { LogFormat: "JSON", ApplicationLogLevel: "INFO", SystemLogLevel: "INFO", LogGroup: "mine" }
    expect(created).toMatchObject({ ...given, LoggingConfig: logging, VpcConfig: { SubnetIds: [] } })
    const updated = await lambda.updateFunctionConfiguration({ FunctionName: "full", Timeout: 5 })
    expect(updated).toMatchObject({
      ...given,
      LoggingConfig: logging,
      Timeout: 5,
      LastUpdateStatus: "InProgress",
      LastUpdateStatusReason: "The function is being created.",
      LastUpdateStatusReasonCode: "Creating",
    })
    await waitUntilFunctionUpdatedV2({ client: lambda, maxWaitTime: 60 }, { FunctionName: "full" })
    expect((await lambda.getFunction({ FunctionName: "full" })).Tags).toEqual({ team: "core" })
  })

  it("gives its code back at a link that anybody may follow, and nothing else by it", async () => {
    const zip = await codeOf("to be fetched")
    await made("fetched", { Code: { ZipFile: zip } })
    const { Code } = await lambda.getFunction({ FunctionName: "fetched" })
    expect(Code?.RepositoryType).toBe("S3")
    const location = Code?.Location ?? ""
    const got = await fetch(location)
    expect(got.status).toBe(200)
    expect(Buffer.from(await got.arrayBuffer()).equals(zip)).toBe(true)
    expect((await fetch(location, { method: "DELETE" })).status).toBe(403)
    expect((await fetch(location.replace(".zip", ".zap"))).status).toBe(403)
    const { host, pathname } = new URL(location)
    const key = pathname.slice(CODE_PLACE.bucket.length + 2)
    const linkAt = (ageMs: number) =>
      createCodeLinks(
        LINK_SECRET,
        () => key,
        () => Date.now() - ageMs,
      ).toCode(sha256Of(zip), host, region)
    expect((await fetch(linkAt(500_000))).status).toBe(200)
    expect((await fetch(linkAt(601_000))).status).toBe(403)
    await expect(under.api.s3().listObjectsV2({ Bucket: CODE_PLACE.bucket })).rejects.toThrow("does not exist")
  })

  it("takes its code from a bucket, and says in AWS's words why it cannot", async () => {
    const s3 = under.api.s3()
    const zip = await codeOf("from a bucket")
    await s3.createBucket({ Bucket: "artifacts" })
    await s3.putObject({ Bucket: "artifacts", Key: "app.zip", Body: zip })
    await s3.putObject({ Bucket: "artifacts", Key: "text", Body: "no zip" })
    const create = async (name: string, Code: object) => lambda.createFunction(await functionInput(name, { Code }))
    expect((await create("bucket", { S3Bucket: "artifacts", S3Key: "app.zip" })).CodeSha256).toBe(sha256Of(zip))
    const refused = async (Code: object) => (await refusalOf(create("refused", Code))).message
    expect(await refused({ S3Bucket: "artifacts", S3Key: "nothing" })).toBe(
      "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist.",
    )
    expect(await refused({ S3Bucket: "nowhere", S3Key: "app.zip" })).toContain("S3 Error Code: NoSuchBucket.")
    expect(await refused({ S3Bucket: "artifacts", S3Key: "text" })).toBe(
      "Could not unzip uploaded file. Please check your file, then try to upload again.",
    )
    expect(await refused({ ZipFile: Buffer.alloc(0) })).toBe("Uploaded file must be a non-empty zip")
    expect(await refused({})).toBe("Please provide a source for function code.")
    expect(await refused({ ZipFile: zip, S3Key: "app.zip" })).toContain("Please do not provide other")
    await expect(lambda.getFunction({ FunctionName: "refused" })).rejects.toThrow("Function not found")
  })

  it("tells what it was used for in pages, each hour of each version once", async () => {
    await made("used")
    const [owner] = await under.db.select({ id: functions.id }).from(functions).where(eq(functions.name, "used"))
    await under.db.execute(sql`
      insert into ${functionUsage} (function_id, version, hour, invocations, errors, throttles, duration_ms, gb_seconds)
      select ${owner?.id}, (n % 500)::text, date_trunc('hour', now()) - make_interval(hours => n / 500), 1, 0, 0, 0, 0
      from generate_series(0, 10001) n`)
    const ask = async (query: string) => {
      const { status, text } = await signedSend(under.api.port, { path: `/torpor/v1/functions/used/usage?${query}` })
      return { status, ...(JSON.parse(text) as { items?: unknown[]; next?: string; message?: string }) }
    }
    const since = `since=${encodeURIComponent(new Date(Date.now() - 22 * 3_600_000).toISOString())}`
    const first = await ask(since)
    const second = await ask(`${since}&after=${encodeURIComponent(first.next ?? "")}`)
    const seen = [...(first.items ?? []), ...(second.items ?? [])].map((item) => JSON.stringify(item))
    expect([first.items?.length, new Set(seen).size, second.next]).toEqual([10_000, 10_002, undefined])
    for (const query of ["since=%2B275760-09-13T00%3A00%3A00Z", "since=soon", `${since}&after=x`])
      expect((await ask(query)).status).toBe(400)
  })

  it("is refused when its zip is larger than AWS takes, in its words", async () => {
    const given = {
      artifacts: { openArtifact: () => Promise.reject(new Error("not asked")) },
      artifactDirectory: tmpdir(),
      codeTurns: createTurns(1),
    }
    const scope = { account, region }
    const opened = openCode(
      { kind: "inline", zip: Buffer.alloc(52_428_801) },
      given,
      scope,
      AbortSignal.timeout(60_000),
    )
    await expect(opened).rejects.toMatchObject({
      code: "RequestEntityTooLargeException",
      message: "Zipped size must be smaller than 52428800 bytes",
      status: 413,
    })
  })

  it("is looked through when it is its turn: until then nothing is copied", async () => {
    const codeTurns = createTurns(1)
    const given = {
      artifacts: { openArtifact: () => Promise.reject(new Error("asked")) },
      artifactDirectory: tmpdir(),
      codeTurns,
    }
    const open = (source: CodeSource) => openCode(source, given, { account, region }, AbortSignal.timeout(60_000))
    const first = await open({ kind: "inline", zip: await codeOf() })
    const second = open({ kind: "s3", bucket: "artifacts", key: "app.zip", version: undefined }).then(String, String)
    expect(await Promise.race([second, new Promise((resolve) => setImmediate(resolve, "waiting"))])).toBe("waiting")
    await first[Symbol.asyncDispose]()
    expect(await second).toBe("Error: asked")
    await expect(open({ kind: "inline", zip: Buffer.from("no zip") })).rejects.toMatchObject({ status: 400 })
    await (await open({ kind: "inline", zip: await codeOf() }))[Symbol.asyncDispose]()
  })

  it("shares a zip with whoever has the same, which goes with the last of them", async () => {
    const code = { Code: { ZipFile: await codeOf("shared") } }
    const before = zipsKept()
    await made("one", code)
    await made("two", code)
    await lambda.publishVersion({ FunctionName: "two" })
    expect(zipsKept()).toBe(before + 1)
    await lambda.deleteFunction({ FunctionName: "one" })
    expect(zipsKept()).toBe(before + 1)
    await lambda.updateFunctionCode({ FunctionName: "two", ZipFile: await codeOf("own") })
    await under.settling.settled()
    expect(zipsKept()).toBe(before + 2)
    await lambda.deleteFunction({ FunctionName: "two", Qualifier: "1" })
    expect(zipsKept()).toBe(before + 1)
    await lambda.deleteFunction({ FunctionName: "two" })
    expect(zipsKept()).toBe(before)
  })

  it("changes its revision with every change and every settling, and refuses a stale one", async () => {
    const { RevisionId: stale } = await made("revised")
    const stalely = { FunctionName: "revised", RevisionId: stale }
    const refusal = {
      name: "PreconditionFailedException",
      status: 412,
      message:
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
    }
    expect(await refusalOf(lambda.updateFunctionConfiguration({ ...stalely, Timeout: 1 }))).toEqual(refusal)
    expect(await refusalOf(lambda.updateFunctionCode({ ...stalely, ZipFile: await codeOf() }))).toEqual(refusal)
    expect(await refusalOf(lambda.publishVersion(stalely))).toEqual(refusal)
    const { RevisionId: fresh = "" } = await lambda.getFunctionConfiguration({ FunctionName: "revised" })
    const updated = await lambda.updateFunctionConfiguration({ FunctionName: "revised", RevisionId: fresh })
    await under.settling.settled()
    const settled = await lambda.getFunctionConfiguration({ FunctionName: "revised" })
    expect(new Set([stale, fresh, updated.RevisionId, settled.RevisionId]).size).toBe(4)
  })

  it("tells what a dry run would do, and keeps nothing of it", async () => {
    const { CodeSha256: before } = await made("dry")
    const zips = zipsKept()
    const ZipFile = await codeOf("would be")
    const would = await lambda.updateFunctionCode({ FunctionName: "dry", ZipFile, DryRun: true })
    expect(would.CodeSha256).toBe(sha256Of(ZipFile))
    expect((await lambda.getFunctionConfiguration({ FunctionName: "dry" })).CodeSha256).toBe(before)
    expect(zipsKept()).toBe(zips)
  })

  it("exists once in its account and region, and is its own account's alone", async () => {
    await made("alone")
    const again = { name: "ResourceConflictException", status: 409, message: "Function already exist: alone" }
    expect(await refusalOf(lambda.createFunction(await functionInput("alone")))).toEqual(again)
    const elsewhere = under.client({ region: "us-east-1" })
    expect(await refusalOf(elsewhere.getFunction({ FunctionName: "alone" }))).toMatchObject({ status: 404 })
    const other = under.client({ credentials: otherCredentials })
    expect(await refusalOf(other.getFunction({ FunctionName: "alone" }))).toEqual({
      name: "ResourceNotFoundException",
      status: 404,
      message: `Function not found: arn:aws:lambda:${region}:111111111111:function:alone`,
    })
    const wrong = under.client({ credentials: { ...otherCredentials, secretAccessKey: "wrong" } })
    expect(await refusalOf(wrong.getFunction({ FunctionName: "alone" }))).toMatchObject({ status: 403 })
  })

  it("is not found in Lambda's dialect, which says whose fault it was", async () => {
    const missing = await signedJson(under.api.port, "GET", "/2015-03-31/functions/nobody")
    expect(missing.json).toEqual({ Type: "User", Message: `Function not found: ${arnOf("nobody")}` })
    const { headers } = await signedSend(under.api.port, { path: "/2015-03-31/functions/nobody" })
    expect(headers["x-amzn-errortype"]).toBe("ResourceNotFoundException")
    const gone = await signedSend(under.api.port, { path: "/2015-03-31/functions/alone", method: "DELETE" })
    expect([gone.status, gone.text]).toEqual([204, ""])
  })

  it("is settled by the next start when a death came between, and fails when its code is gone", async () => {
    await made("interrupted")
    await made("broken", { Code: { ZipFile: await codeOf("about to be lost") } })
    await under.db.update(functionVersions).set({ state: "Pending", updateState: null })
    const { CodeSha256 = "" } = await lambda.getFunctionConfiguration({ FunctionName: "broken" })
    const key = `${Buffer.from(CodeSha256, "base64").toString("hex")}.zip`
    await under.store.delete(CODE_PLACE.account, CODE_PLACE.bucket, key)
    const orphan = under.store.bucket(CODE_PLACE.account, CODE_PLACE.bucket).sortedKeys().length
    await using next = await under.open()
    await next.settling.settled()
    expect(await lambda.getFunctionConfiguration({ FunctionName: "interrupted" })).toMatchObject({ State: "Active" })
    expect(await lambda.getFunctionConfiguration({ FunctionName: "broken" })).toMatchObject({
      State: "Failed",
      StateReasonCode: "InternalError",
    })
    expect(zipsKept()).toBe(orphan)
  })

  it("leaves no zip behind, whatever a death kept from being removed", async () => {
    const before = zipsKept()
    await made("forgotten", { Code: { ZipFile: await codeOf("with a row") } })
    await under.db.delete(functions).where(eq(functions.name, "forgotten"))
    const expected = () => ({ md5: undefined, checksum: undefined })
    const options = { headers: {}, algorithm: undefined, expected, ifAbsent: false }
    const { account: owner, bucket } = CODE_PLACE
    await under.store.put(
      owner,
      bucket,
      "without-a-row.zip",
      Readable.from(["x"]),
      options,
      AbortSignal.timeout(60_000),
    )
    expect(zipsKept()).toBe(before + 2)
    await using next = await under.open()
    await next.settling.settled()
    expect(zipsKept()).toBe(before)
  })
})
