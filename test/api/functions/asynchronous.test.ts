import { Registry } from "prom-client"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { OpenEvents } from "../../../machines/functions/events/open-events.ts"
import { refusalOf } from "../api-under-test.ts"
import { eventually } from "../../fixtures/eventually.ts"
import { functionInput, openQueue, startFunctions, type FunctionsUnderTest } from "./functions-under-test.ts"

const HOUR_MS = 3_600_000

describe("An event, from the SDK's call by way of the queue to the function", () => {
  let functions: FunctionsUnderTest
  let events: OpenEvents
  let lambda: ReturnType<FunctionsUnderTest["client"]>
  const metrics = new Registry()
  /** What functions were given. */
  const given: { arn: string; requestId: string; payload: string }[] = []
  beforeAll(async () => {
    functions = await startFunctions()
    const pace = { retryMs: [HOUR_MS], firstHoldMs: HOUR_MS, longestHoldMs: HOUR_MS }
    events = await openQueue(functions, { metrics, pace })
    functions.memory.handler = ({ spec, payload }) => {
      given.push({ arn: spec.functionArn, requestId: spec.requestId, payload: payload.toString() })
      return { body: '"done"' }
    }
    lambda = functions.client()
    for (const name of ["first", "second"])
      await lambda.createFunction({ ...(await functionInput(name)), Publish: true })
    await functions.settling.settled()
    await lambda.createAlias({ FunctionName: "first", Name: "live", FunctionVersion: "1" })
  })
  afterAll(async () => {
    await events.close(0)
    await functions[Symbol.asyncDispose]()
  })
  const until = (count: number) => eventually(() => expect(given).toHaveLength(count), { interval: 10 })

  it("is accepted with the id that the function is given, and its result is another function's event", async () => {
    const Destination = "arn:aws:lambda:eu-central-1:000000000000:function:second"
    await lambda.putFunctionEventInvokeConfig({
      FunctionName: "first",
      Qualifier: "live",
      DestinationConfig: { OnSuccess: { Destination } },
    })
    const { StatusCode, $metadata } = await lambda.invoke({
      FunctionName: "first:live",
      InvocationType: "Event",
      Payload: '{"n":1}',
    })
    expect(StatusCode).toBe(202)
    await until(2)
    const [first, second] = given.splice(0)
    expect(first).toMatchObject({ requestId: $metadata.requestId, payload: '{"n":1}' })
    expect(JSON.parse(second?.payload ?? "")).toMatchObject({
      requestContext: { requestId: $metadata.requestId, functionArn: expect.stringMatching(/:first:live$/) },
      requestPayload: { n: 1 },
      responseContext: { statusCode: 200, executedVersion: "1" },
      responsePayload: "done",
    })
  })

  it("waits while its function may not run at all, and is given to it as soon as it may", async () => {
    await lambda.putFunctionConcurrency({ FunctionName: "second", ReservedConcurrentExecutions: 0 })
    await lambda.invoke({ FunctionName: "second", InvocationType: "Event" })
    await eventually(async () =>
      expect(await metrics.metrics()).toContain('torpor_events_held_total{kind="invocation"} 1'),
    )
    expect(given).toEqual([])
    await lambda.putFunctionConcurrency({ FunctionName: "second", ReservedConcurrentExecutions: 1 })
    await until(1)
    expect(given.splice(0)).toMatchObject([{ payload: "{}" }])
  })

  it("is refused where there is no such alias, and above a megabyte", async () => {
    const send = (FunctionName: string, Payload = "{}") =>
      refusalOf(lambda.invoke({ FunctionName, InvocationType: "Event", Payload }))
    expect(await send("first:nobody")).toMatchObject({
      status: 404,
      name: "ResourceNotFoundException",
      message: "Function not found: arn:aws:lambda:eu-central-1:000000000000:function:first:nobody",
    })
    expect(await send("first", JSON.stringify("x".repeat(1_048_575)))).toMatchObject({
      status: 413,
      name: "RequestEntityTooLargeException",
      message: "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)",
    })
  })
})
