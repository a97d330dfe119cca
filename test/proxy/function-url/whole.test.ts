/** From the SDK's call to the URL's answer: rows, policy, throttles, the invoker and the edge are real, environments are this process's. */
import { afterAll, beforeAll, expect, test } from "vitest"
import type { FunctionUrlAuthType, InvokeMode, Lambda } from "@aws-sdk/client-lambda"
import { createUrlRouter } from "../../../machines/functions/urls/router.ts"
import { functionInput, startFunctions, type FunctionsUnderTest } from "../../api/functions/functions-under-test.ts"
import { openUrlEdge, protocols, type UrlEdge } from "./url-edge.ts"

let under: FunctionsUnderTest
let edge: UrlEdge
let client: Lambda
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

/** Makes a function with a URL that anybody may ask, as a user of the SDK does. */
const create = async (
  FunctionName: string,
  { AuthType = "NONE", InvokeMode = "BUFFERED" }: { AuthType?: FunctionUrlAuthType; InvokeMode?: InvokeMode } = {},
) => {
  await client.createFunction(await functionInput(FunctionName))
  await under.settling.settled()
  const { FunctionUrl = "" } = await client.createFunctionUrlConfig({ FunctionName, AuthType, InvokeMode })
  const common = { FunctionName, Principal: "*" }
  await client.addPermission({
    ...common,
    StatementId: "url",
    Action: "lambda:InvokeFunctionUrl",
    FunctionUrlAuthType: AuthType,
  })
  await client.addPermission({
    ...common,
    StatementId: "invoke",
    Action: "lambda:InvokeFunction",
    InvokedViaFunctionUrl: true,
  })
  return new URL(FunctionUrl).hostname
}

test.for(protocols)("A function with a URL answers over %s", async (protocol) => {
  const name = `hello-${protocol.replace(/\W/g, "")}`
  const host = await create(name)
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
  const host = await create("streams", { InvokeMode: "RESPONSE_STREAM" })
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
