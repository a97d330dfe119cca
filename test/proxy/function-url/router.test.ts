import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import type { Lambda } from "@aws-sdk/client-lambda"
import { createUrlRouter, type UrlRouter } from "../../../machines/functions/urls/router.ts"
import { account, region } from "../../api/api-under-test.ts"
import { functionInput, startFunctions, type FunctionsUnderTest } from "../../api/functions/functions-under-test.ts"
import { createFakeInvoker } from "./fake-invoker.ts"

let under: FunctionsUnderTest
let client: Lambda
const invoker = createFakeInvoker(() => () => "ok")
let router: UrlRouter
beforeAll(async () => {
  under = await startFunctions()
  client = under.client()
})
afterAll(() => under[Symbol.asyncDispose]())
beforeEach(
  () =>
    void (router = createUrlRouter({ db: under.db, changes: under.changes, invoker, domain: "lambda-url.localhost" })),
)

/** Creates a function with a URL that anybody may ask; resolves with the host that the API printed. */
const create = async (FunctionName: string) => {
  await client.createFunction(await functionInput(FunctionName))
  const { FunctionUrl = "" } = await client.createFunctionUrlConfig({ FunctionName, AuthType: "NONE" })
  return new URL(FunctionUrl).hostname
}
const allowAnybody = async (FunctionName: string, Qualifier?: string) => {
  const common = { FunctionName, Principal: "*", ...(Qualifier === undefined ? {} : { Qualifier }) }
  await client.addPermission({
    ...common,
    StatementId: "url",
    Action: "lambda:InvokeFunctionUrl",
    FunctionUrlAuthType: "NONE",
  })
  await client.addPermission({
    ...common,
    StatementId: "invoke",
    Action: "lambda:InvokeFunction",
    InvokedViaFunctionUrl: true,
  })
}

test("The address that the API prints leads to its function, with what the configuration says", async () => {
  const host = await create("found")
  await client.updateFunctionUrlConfig({
    FunctionName: "found",
    InvokeMode: "RESPONSE_STREAM",
    Cors: { AllowOrigins: ["*"] },
  })
  expect(router.owns(host)).toBe(true)
  const target = await router.find(host)
  expect(target).toMatchObject({
    kind: "function-url",
    id: host.split(".")[0],
    authType: "NONE",
    isStreamed: true,
    cors: { AllowOrigins: ["*"] },
  })
  const event = { requestId: crypto.randomUUID(), traceId: "Root=1", payload: Buffer.from("{}") }
  await target?.invoke(event, new AbortController().signal)
  expect(invoker.requests.at(-1)).toEqual({
    ...event,
    target: { name: "found", qualifier: undefined },
    scope: { account, region },
    mode: "streaming",
  })
})

test("Whom the policy lets in is let in, and an alias has a policy of its own", async () => {
  const host = await create("guarded")
  await client.publishVersion({ FunctionName: "guarded" })
  await client.createAlias({ FunctionName: "guarded", Name: "live", FunctionVersion: "1" })
  const { FunctionUrl = "" } = await client.createFunctionUrlConfig({
    FunctionName: "guarded",
    Qualifier: "live",
    AuthType: "NONE",
  })
  const aliasHost = new URL(FunctionUrl).hostname
  expect((await router.find(host))?.allows(undefined)).toBe(false)
  await allowAnybody("guarded", "live")
  expect((await router.find(aliasHost))?.allows(undefined)).toBe(true)
  expect((await router.find(host))?.allows(undefined)).toBe(false)
  await allowAnybody("guarded")
  expect((await router.find(host))?.allows(undefined)).toBe(true)
  await client.removePermission({ FunctionName: "guarded", StatementId: "invoke" })
  expect((await router.find(host))?.allows(undefined)).toBe(false)

  await (
    await router.find(aliasHost)
  )?.invoke(
    { requestId: crypto.randomUUID(), traceId: "Root=1", payload: Buffer.from("{}") },
    new AbortController().signal,
  )
  expect(invoker.requests.at(-1)?.target).toEqual({ name: "guarded", qualifier: "live" })
})

test("A configuration that is changed or removed is noticed, and so is a function that is gone", async () => {
  const host = await create("changed")
  const caller = { accessKeyId: "AKIA", account, region }
  expect((await router.find(host))?.authType).toBe("NONE")
  await client.updateFunctionUrlConfig({ FunctionName: "changed", AuthType: "AWS_IAM" })
  expect((await router.find(host))?.authType).toBe("AWS_IAM")
  const target = await router.find(host)
  expect([target?.allows(caller), target?.allows(undefined)]).toEqual([true, false])
  expect(target?.allows({ ...caller, region: "us-east-1" })).toBe(false)
  expect(target?.allows({ ...caller, account: "111111111111" })).toBe(false)
  await client.deleteFunctionUrlConfig({ FunctionName: "changed" })
  expect(await router.find(host)).toBeUndefined()

  const next = await create("gone")
  expect(await router.find(next)).toBeDefined()
  await client.deleteFunction({ FunctionName: "gone" })
  expect(await router.find(next)).toBeUndefined()
})

test("A host that cannot be one of ours is nobody's, without a look-up", () => {
  for (const host of ["lambda-url.localhost", "x.lambda-url.localhost.evil", "a.vm.localhost"])
    expect(router.owns(host)).toBe(false)
  for (const label of ["", "a", "A".repeat(32), "a".repeat(33), `${"a".repeat(30)}.b`])
    expect(router.find(`${label}.lambda-url.localhost`)).toBeUndefined()
})
