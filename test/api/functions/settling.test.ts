import { createHash } from "node:crypto"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { CODE_PLACE } from "../../../machines/functions/code/code-store.ts"
import { NotReady, type ReadinessOwner } from "../../../machines/functions/code/readiness.ts"
import { findDefinition } from "../../../machines/functions/definitions.ts"
import { diskOwners } from "../../../machines/functions/disks/disk-owners.ts"
import { functionVersions } from "../../../src/db/functions.ts"
import { createSecrets } from "../../../src/secrets.ts"
import { refusalOf } from "../api-under-test.ts"
import { codeOf, functionInput, startFunctions, type FunctionsUnderTest } from "./functions-under-test.ts"

let under: FunctionsUnderTest
/** Codes of which no disk can be made, and what holds back those that are being made. */
const broken = new Set<string>()
let gate = Promise.resolve()
/** The same for one code alone. */
const gates = new Map<string, Promise<void>>()
const prepared: ReadinessOwner[] = []
beforeAll(async () => {
  under = await startFunctions({}, async (owner) => {
    prepared.push(owner)
    await gate
    await gates.get(owner.code)
    if (broken.has(owner.code)) throw new NotReady("InvalidZipFileException", "It is no zip after all.")
  })
})
afterAll(() => under?.[Symbol.asyncDispose]())

const hashOf = (zip: Buffer) => createHash("sha256").update(zip).digest("base64")
const secrets = createSecrets(Buffer.alloc(32, 7))
/** The code that serves the one function there is, and a variable of it. */
const served = async () => {
  const [row] = await under.db.select().from(functionVersions)
  const found = await findDefinition(under.db, secrets, row?.id ?? "")
  return [found?.definition.code, found?.definition.environment["WHO"]]
}
const kept = () => under.store.bucket(CODE_PLACE.account, CODE_PLACE.bucket).sortedKeys().length

describe("A function's settling", () => {
  it("waits for what environments stand on, and fails with its reason", async () => {
    const lambda = under.client()
    const code = await codeOf("broken from the start")
    broken.add(hashOf(code))
    await lambda.createFunction(await functionInput("f", { Code: { ZipFile: code } }))
    await under.settling.settled()
    expect(await lambda.getFunctionConfiguration({ FunctionName: "f" })).toMatchObject({
      State: "Failed",
      StateReasonCode: "InvalidZipFileException",
      StateReason: "It is no zip after all.",
    })
    const whole = await codeOf("whole")
    await lambda.updateFunctionCode({ FunctionName: "f", ZipFile: whole })
    await under.settling.settled()
    expect(await lambda.getFunctionConfiguration({ FunctionName: "f" })).toMatchObject({
      State: "Active",
      LastUpdateStatus: "Successful",
    })
    expect(prepared.at(-1)).toMatchObject({ code: hashOf(whole), layers: [], settings: { runtime: "nodejs24.x" } })
    expect(kept()).toBe(1)
    await lambda.deleteFunction({ FunctionName: "f" })
  })

  it("of an update leaves what was there serving, until it has succeeded", async () => {
    const lambda = under.client()
    const [one, two, three] = [await codeOf("one"), await codeOf("two"), await codeOf("three")]
    const first = await functionInput("g", { Code: { ZipFile: one }, Environment: { Variables: { WHO: "one" } } })
    await lambda.createFunction(first)
    await under.settling.settled()
    expect(await served()).toEqual([hashOf(one), "one"])

    const held = Promise.withResolvers<void>()
    gate = held.promise
    broken.add(hashOf(two))
    const made = prepared.length
    await lambda.updateFunctionCode({ FunctionName: "g", ZipFile: two })
    await expect.poll(() => prepared.length).toBe(made + 1)
    expect(await lambda.getFunctionConfiguration({ FunctionName: "g" })).toMatchObject({
      CodeSha256: hashOf(two),
      LastUpdateStatus: "InProgress",
    })
    expect(await served()).toEqual([hashOf(one), "one"])
    held.resolve()
    await under.settling.settled()
    expect(await lambda.getFunctionConfiguration({ FunctionName: "g" })).toMatchObject({
      State: "Active",
      LastUpdateStatus: "Failed",
      LastUpdateStatusReasonCode: "InvalidZipFileException",
    })
    expect(await served()).toEqual([hashOf(one), "one"])

    // Another that fails still leaves the last that was whole.
    const Environment = { Variables: { WHO: "two" } }
    await lambda.updateFunctionConfiguration({ FunctionName: "g", Environment })
    await under.settling.settled()
    expect(await served()).toEqual([hashOf(one), "one"])
    expect(kept()).toBe(2)

    await lambda.updateFunctionCode({ FunctionName: "g", ZipFile: three })
    await under.settling.settled()
    expect(await served()).toEqual([hashOf(three), "two"])
    expect(kept()).toBe(1)
    await lambda.deleteFunction({ FunctionName: "g" })
    expect(kept()).toBe(0)
  })

  it("of an update leaves the layers that were there serving, deleted ones too; deleting takes all with it", async () => {
    const lambda = under.client()
    const publish = async (text: string) => {
      const zip = await codeOf(text)
      const { LayerVersionArn } = await lambda.publishLayerVersion({ LayerName: "l", Content: { ZipFile: zip } })
      return { arn: LayerVersionArn ?? "", hash: hashOf(zip) }
    }
    const [lower, upper] = [await publish("lower"), await publish("upper")]
    const code = await codeOf("layered")
    await lambda.createFunction(await functionInput("h", { Code: { ZipFile: code }, Layers: [lower.arn] }))
    await under.settling.settled()
    broken.add(hashOf(code))
    await lambda.updateFunctionConfiguration({ FunctionName: "h", Layers: [upper.arn] })
    await under.settling.settled()
    await lambda.deleteLayerVersion({ LayerName: "l", VersionNumber: 1 })
    const [row] = await under.db.select().from(functionVersions)
    const found = await findDefinition(under.db, secrets, row?.id ?? "")
    expect(found?.definition.layers).toEqual([lower.hash])
    expect(kept()).toBe(3)
    const owners = await diskOwners(under.db, secrets, under.hostId)
    const own = { code: hashOf(code), settings: { temporaryMiB: 512 } }
    expect(owners).toEqual([
      { ...own, layers: [upper.hash] },
      { ...own, layers: [lower.hash] },
    ])
    await lambda.deleteFunction({ FunctionName: "h" })
    expect(kept()).toBe(1)
  })

  it("of one function doesn't wait for what takes long to be made for others", async () => {
    const lambda = under.client()
    const held = Promise.withResolvers<void>()
    const names = Array.from({ length: 8 }, (_, index) => `slow-${index}`)
    for (const name of names) {
      const code = await codeOf(name)
      gates.set(hashOf(code), held.promise)
      await lambda.createFunction(await functionInput(name, { Code: { ZipFile: code } }))
    }
    await lambda.createFunction(await functionInput("fast", { Code: { ZipFile: await codeOf("fast") } }))
    const stateOf = async (FunctionName: string) => (await lambda.getFunctionConfiguration({ FunctionName })).State
    await expect.poll(() => stateOf("fast")).toBe("Active")
    expect(await stateOf("slow-0")).toBe("Pending")
    held.resolve()
    await under.settling.settled()
    for (const FunctionName of [...names, "fast"]) await lambda.deleteFunction({ FunctionName })
  })

  it("with SnapStart makes a published version's snapshot, and no other's", async () => {
    const lambda = under.client()
    const SnapStart = { ApplyOn: "PublishedVersions" } as const
    const input = await functionInput("s", { Code: { ZipFile: await codeOf("snapped") }, SnapStart })
    expect(await lambda.createFunction(input)).toMatchObject({
      SnapStart: { ApplyOn: "PublishedVersions", OptimizationStatus: "Off" },
    })
    await under.settling.settled()
    expect(prepared.at(-1)).not.toHaveProperty("optimised")
    const held = Promise.withResolvers<void>()
    gate = held.promise
    expect(await lambda.publishVersion({ FunctionName: "s" })).toMatchObject({
      State: "Pending",
      SnapStart: { ApplyOn: "PublishedVersions", OptimizationStatus: "Off" },
    })
    expect(await refusalOf(lambda.invoke({ FunctionName: "s", Qualifier: "1" }))).toMatchObject({
      name: "SnapStartNotReadyException",
      status: 409,
      message:
        "Lambda is initializing your function. It will be ready to invoke once your function state becomes ACTIVE.",
    })
    held.resolve()
    await under.settling.settled()
    const rows = await under.db.select().from(functionVersions)
    expect(prepared.at(-1)?.optimised).toBe(rows.find(({ number }) => number === 1)?.id)
    expect(await lambda.getFunctionConfiguration({ FunctionName: "s", Qualifier: "1" })).toMatchObject({
      State: "Active",
      SnapStart: { ApplyOn: "PublishedVersions", OptimizationStatus: "On" },
    })
    const off = { FunctionName: "s", SnapStart: { ApplyOn: "None" } } as const
    expect(await lambda.updateFunctionConfiguration(off)).toMatchObject({
      SnapStart: { ApplyOn: "None", OptimizationStatus: "Off" },
    })
    await under.settling.settled()
    expect(await lambda.publishVersion({ FunctionName: "s" })).toMatchObject({ Version: "2", State: "Active" })
    await lambda.deleteFunction({ FunctionName: "s" })
  })
})
