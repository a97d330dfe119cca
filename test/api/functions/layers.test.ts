import { randomUUID } from "node:crypto"
import type { Lambda } from "@aws-sdk/client-lambda"
import { inArray } from "drizzle-orm"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { CODE_PLACE } from "../../../machines/functions/code/code-store.ts"
import { functionLayers } from "../../../src/db/function-layers.ts"
import { account, otherCredentials, refusalOf, region } from "../api-under-test.ts"
import { codeOf, functionInput, startFunctions, type FunctionsUnderTest } from "./functions-under-test.ts"

const arnOf = (name: string, number?: number) =>
  `arn:aws:lambda:${region}:${account}:layer:${name}${number === undefined ? "" : `:${number}`}`

describe("A layer", () => {
  let under: FunctionsUnderTest
  let lambda: Lambda
  beforeAll(async () => {
    under = await startFunctions({ versions: 12, codeBytes: 100_000 })
    lambda = under.client()
  })
  afterAll(() => under?.[Symbol.asyncDispose]())

  const says = async (call: Promise<unknown>) => {
    const { name, status, message } = await refusalOf(call)
    return `${status} ${name}: ${message}`
  }
  const publish = async (LayerName: string, text: string, more = {}) =>
    lambda.publishLayerVersion({ LayerName, Content: { ZipFile: await codeOf(text) }, ...more })

  it("is remembered when its versions are gone, so that their numbers go on, but not any number of them", async () => {
    await publish("gone", "layer of one that goes")
    await lambda.deleteLayerVersion({ LayerName: "gone", VersionNumber: 1 })
    expect(await publish("gone", "layer of one that goes")).toMatchObject({ Version: 2 })
    const names = Array.from({ length: 1100 }, (_, index) => `flood-${index}`)
    await under.db.insert(functionLayers).values(
      names.map((name, index) => ({
        id: randomUUID(),
        account,
        region: index % 2 === 0 ? region : "us-west-2",
        name,
        lastVersion: 1,
      })),
    )
    await lambda.deleteLayerVersion({ LayerName: "gone", VersionNumber: 2 })
    await expect.poll(() => under.db.$count(functionLayers)).toBe(1000)
    expect(await publish("gone", "layer of one that goes")).toMatchObject({ Version: 3 })
    await lambda.deleteLayerVersion({ LayerName: "gone", VersionNumber: 3 })
    // Beside so many, one that a later test counts on could be forgotten.
    await under.db.delete(functionLayers).where(inArray(functionLayers.name, names))
  })

  it("of a host whose store is full is refused in Lambda's words", async () => {
    await using full = await startFunctions({}, undefined, { maxAccountBytes: 10 })
    const refused = full.client().publishLayerVersion({ LayerName: "one", Content: { ZipFile: await codeOf() } })
    expect(await says(refused)).toBe("400 CodeStorageExceededException: Code storage limit of this host exceeded.")
  })

  it("has versions that say what they are for, and whose zip can be had at a link", async () => {
    const zip = await codeOf("layer one")
    const described = {
      Description: "the first",
      LicenseInfo: "MIT",
      CompatibleRuntimes: ["python3.13" as const],
      CompatibleArchitectures: ["x86_64" as const],
    }
    const one = await publish("tools", "layer one", described)
    expect(one).toMatchObject({
      ...described,
      LayerArn: arnOf("tools"),
      LayerVersionArn: arnOf("tools", 1),
      Version: 1,
    })
    expect(one.CreatedDate).toMatch(/\.\d{3}\+0000$/)
    const got = await fetch(one.Content?.Location ?? "")
    expect(Buffer.from(await got.arrayBuffer()).equals(zip)).toBe(true)
    await publish("tools", "layer two")
    await publish("another", "layer three")
    expect(await lambda.getLayerVersionByArn({ Arn: arnOf("tools", 1) })).toMatchObject(described)
    const { LayerVersions = [] } = await lambda.listLayerVersions({ LayerName: arnOf("tools") })
    expect(LayerVersions.map(({ Version }) => Version)).toEqual([2, 1])
    const listed = async (filter = {}) =>
      (await lambda.listLayers(filter)).Layers?.map((layer) => layer.LatestMatchingVersion?.LayerVersionArn)
    expect(await listed()).toEqual([arnOf("another", 1), arnOf("tools", 2)])
    expect(await listed({ CompatibleRuntime: "python3.13" })).toEqual([arnOf("tools", 1)])
    const missing = "404 ResourceNotFoundException: The resource you requested does not exist."
    expect(await says(lambda.getLayerVersion({ LayerName: "tools", VersionNumber: 7 }))).toBe(missing)
    const other = under.client({ credentials: otherCredentials })
    expect(await says(other.getLayerVersion({ LayerName: "tools", VersionNumber: 1 }))).toBe(missing)
    const { NextMarker } = await lambda.listLayers({ MaxItems: 1 })
    expect((await lambda.listLayers({ Marker: NextMarker })).Layers?.[0]?.LayerName).toBe("tools")
  })

  it("is attached in order, stays where it is attached when it is deleted, and goes with the last that has it", async () => {
    const Layers = [arnOf("tools", 2), arnOf("another", 1)]
    const created = await lambda.createFunction(await functionInput("layered", { Layers, Publish: true }))
    expect(created.Layers?.map(({ Arn }) => Arn)).toEqual(Layers)
    expect(created.Layers?.every(({ CodeSize = 0 }) => CodeSize > 0)).toBe(true)
    await under.settling.settled()
    const zips = () => under.store.bucket(CODE_PLACE.account, CODE_PLACE.bucket).objects.size
    const before = zips()
    await lambda.deleteLayerVersion({ LayerName: "another", VersionNumber: 1 })
    await lambda.deleteLayerVersion({ LayerName: "another", VersionNumber: 1 })
    expect(zips()).toBe(before)
    const update = async (layers: string[]) => {
      const answer = await lambda.updateFunctionConfiguration({ FunctionName: "layered", Layers: layers })
      await under.settling.settled()
      return answer.Layers?.map(({ Arn }) => Arn)
    }
    expect(await update([arnOf("another", 1), arnOf("tools", 2)])).toEqual([arnOf("another", 1), arnOf("tools", 2)])
    expect(await update([])).toBeUndefined()
    const gone = lambda.updateFunctionConfiguration({ FunctionName: "layered", Layers: [arnOf("another", 1)] })
    expect(await says(gone)).toContain(`Layer version ${arnOf("another", 1)} does not exist.`)
    await lambda.deleteFunction({ FunctionName: "layered" })
    expect(zips()).toBe(before - 2)
    expect((await publish("another", "layer four")).Version).toBe(2)
  })

  it("is refused in AWS's words when there are too many, or two versions of one", async () => {
    const create = async (Layers: string[]) => lambda.createFunction(await functionInput("refused", { Layers }))
    expect(await says(create(Array.from({ length: 6 }, (_, index) => arnOf(`l${index}`, 1))))).toContain(
      "Cannot reference more than 5 layers.",
    )
    expect(await says(create([arnOf("tools", 1), arnOf("tools", 2)]))).toContain(
      `Two different versions of the same layer are not allowed to be referenced in the same function. ${arnOf("tools", 1)} and ${arnOf("tools", 2)} are versions of the same layer.`,
    )
    expect(await says(create([arnOf("nothing", 1)]))).toContain(`Layer version ${arnOf("nothing", 1)} does not exist.`)
  })

  it("has permissions of its own", async () => {
    const one = { LayerName: "tools", VersionNumber: 1 }
    const permission = { ...one, StatementId: "all", Action: "lambda:GetLayerVersion", Principal: "*" }
    const added = await lambda.addLayerVersionPermission(permission)
    expect(JSON.parse(added.Statement ?? "")).toMatchObject({ Sid: "all", Principal: "*", Resource: arnOf("tools", 1) })
    const { Policy = "", RevisionId } = await lambda.getLayerVersionPolicy(one)
    expect(RevisionId).toBe(added.RevisionId)
    expect(JSON.parse(Policy)).toMatchObject({ Statement: [{ Sid: "all" }] })
    expect(await says(lambda.addLayerVersionPermission(permission))).toContain("409 ResourceConflictException")
    const stale = { ...one, StatementId: "all", RevisionId: "stale" }
    expect(await says(lambda.removeLayerVersionPermission(stale))).toMatch(/^412 .* Call the GetLayerPolicy API/)
    await lambda.removeLayerVersionPermission({ ...one, StatementId: "all" })
    expect(await says(lambda.getLayerVersionPolicy(one))).toContain("404 ResourceNotFoundException")
  })

  it("and functions take no more than the account may keep, neither bytes nor versions", async () => {
    const errors: string[] = []
    for (let index = 0; index < 12; index++)
      await publish("many", `version ${index}`).catch((error: Error) => errors.push(error.message))
    expect(errors.length).toBeGreaterThan(0)
    expect(errors[0]).toContain("no more are kept than 12")
    await lambda.deleteLayerVersion({ LayerName: "many", VersionNumber: 1 })
    await publish("many", "one more")
    await lambda.deleteLayerVersion({ LayerName: "many", VersionNumber: 2 })
    const zip = await codeOf(Array.from({ length: 30_000 }, () => Math.random().toString(36)).join(""))
    expect(zip.length).toBeGreaterThan(100_000)
    expect(await says(lambda.publishLayerVersion({ LayerName: "big", Content: { ZipFile: zip } }))).toBe(
      "400 CodeStorageExceededException: Code storage limit exceeded.",
    )
  })
})
