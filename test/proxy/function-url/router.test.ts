/** Rows, policy, throttles, the invoker and the edge are real; environments are this process's. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import type { InvokeMode, Lambda } from "@aws-sdk/client-lambda"
import { createUrlRouter, type UrlRouter } from "../../../machines/functions/urls/router.ts"
import { awaitUrls } from "../../../proxy/function-url/await-urls.ts"
import type { FunctionUrls } from "../../../proxy/function-url/serve.ts"
import { account, region } from "../../api/api-under-test.ts"
import { functionInput, startFunctions, type FunctionsUnderTest } from "../../api/functions/functions-under-test.ts"
import { createFakeInvoker } from "./fake-invoker.ts"
import { openUrlEdge, protocols, type UrlEdge } from "./url-edge.ts"

let under: FunctionsUnderTest
let client: Lambda
const invoker = createFakeInvoker(() => () => "ok")
let router: UrlRouter
let edge: UrlEdge
beforeAll(async () => {
  under = await startFunctions()
  client = under.client()
  const { db, changes, invoking } = under
  edge = await openUrlEdge(
    {},
    createUrlRouter({ db, changes, invoker: invoking.invoker, domain: "lambda-url.localhost" }),
  )
})
afterAll(async () => {
  await edge[Symbol.asyncDispose]()
  await under[Symbol.asyncDispose]()
})
beforeEach(
  () =>
    void (router = createUrlRouter({ db: under.db, changes: under.changes, invoker, domain: "lambda-url.localhost" })),
)

/** Creates a function with a URL; resolves with the host that the API printed. */
const create = async (FunctionName: string, InvokeMode: InvokeMode = "BUFFERED") => {
  await client.createFunction(await functionInput(FunctionName))
  await under.settling.settled()
  const { FunctionUrl = "" } = await client.createFunctionUrlConfig({ FunctionName, AuthType: "NONE", InvokeMode })
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

test.for(protocols)("A function with a URL answers over %s", async (protocol) => {
  const name = `hello-${protocol.replace(/\W/g, "")}`
  const host = await create(name)
  await allowAnybody(name)
  under.memory.handler = ({ payload }) => {
    const { rawPath } = JSON.parse(payload.toString()) as { rawPath: string }
    return { body: JSON.stringify({ statusCode: 200, headers: { "content-type": "text/plain" }, body: rawPath }) }
  }
  const { status, body, headers } = await edge.ask(protocol, { host, path: "/there" })
  expect([status, body, headers["content-type"]]).toEqual([200, "/there", "text/plain"])

  under.memory.handler = () => ({ failure: { errorType: "Runtime.ExitError", body: Buffer.from("{}") } })
  expect((await edge.ask(protocol, { host })).body).toBe("Internal Server Error")

  await client.putFunctionConcurrency({ FunctionName: name, ReservedConcurrentExecutions: 0 })
  const throttled = await edge.ask(protocol, { host })
  expect([throttled.status, JSON.parse(throttled.body), throttled.headers["retry-after"]]).toEqual([
    429,
    {
      Type: "User",
      message: "Rate Exceeded.",
      Reason: "ReservedFunctionConcurrentInvocationLimitExceeded",
    },
    "1",
  ])
  await client.deleteFunction({ FunctionName: name })
  expect((await edge.ask(protocol, { host })).body).toBe('{"Message":null}')
})

test("A function streams through its URL, with a prelude and without one", async () => {
  const host = await create("streams", "RESPONSE_STREAM")
  await allowAnybody("streams")
  under.memory.handler = () => ({ isStreamed: true, contentType: "text/plain", body: "streamed" })
  const { headers, body } = await edge.ask("http/1.1", { host })
  expect([body, headers["content-type"], headers["transfer-encoding"]]).toEqual(["streamed", "text/plain", "chunked"])
  under.memory.handler = () => ({
    isStreamed: true,
    contentType: "application/vnd.awslambda.http-integration-response",
    body: `{"statusCode":201}${"\0".repeat(8)}described`,
  })
  const described = await edge.ask("h2", { host })
  expect([described.status, described.body]).toEqual([201, "described"])
})

test("Who asks before function URLs lead anywhere waits for it, and is told when they never will", async () => {
  const opening = Promise.withResolvers<FunctionUrls>()
  const early = awaitUrls(opening.promise, "lambda-url.localhost")
  const host = await create("early")
  expect([host, "a.vm.localhost", "lambda-url.localhost"].map(early.router.owns)).toEqual([true, false, false])
  const waits = [Promise.resolve(early.router.find(host)), early.signatures.open("GET", "/", {})] as const
  opening.resolve({
    router,
    signatures: { open: async (method, path) => () => ({ accessKeyId: method, account: path, region }) },
  })
  const [target, confirm] = await Promise.all(waits)
  expect(target).toMatchObject({ kind: "function-url", id: host.split(".")[0] })
  expect(confirm).toBeTypeOf("function")
  expect(await early.router.find(host)).toBe(await router.find(host))
  const never = awaitUrls(Promise.reject(new Error("it is closing")), "lambda-url.localhost")
  await expect(never.router.find(host)).rejects.toThrow("it is closing")
})
