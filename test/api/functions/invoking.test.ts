import { once } from "node:events"
import { request } from "node:http"
import { Readable } from "node:stream"
import type { InvokeWithResponseStreamResponseEvent } from "@aws-sdk/client-lambda"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest"
import type { MemoryHandler } from "../../machines/functions/memory-environments.ts"
import { refusalOf } from "../api-under-test.ts"
import { sign, signedSend, type SignedRequest } from "../signed-fetch.ts"
import { functionInput, startFunctions, type FunctionsUnderTest } from "./functions-under-test.ts"

const echo: MemoryHandler = ({ payload }) => ({ body: payload })

describe("Invoking", () => {
  let functions: FunctionsUnderTest
  let lambda: ReturnType<FunctionsUnderTest["client"]>
  beforeAll(async () => {
    functions = await startFunctions()
    lambda = functions.client()
    await lambda.createFunction({ ...(await functionInput("hello")), Publish: true })
    await functions.settling.settled()
    await lambda.createAlias({ FunctionName: "hello", Name: "prod", FunctionVersion: "1" })
  })
  afterAll(() => functions?.[Symbol.asyncDispose]())
  beforeEach(() => {
    functions.memory.handler = echo
    functions.accepted.length = 0
  })
  const send = (more: Partial<SignedRequest>) =>
    signedSend(functions.api.port, { method: "POST", path: "/2015-03-31/functions/hello/invocations", ...more })

  it("answers what the function answers, and which version did", async () => {
    const answer = await lambda.invoke({ FunctionName: "hello", Payload: '{"a":"ü"}' })
    expect(answer.Payload?.transformToString()).toBe('{"a":"ü"}')
    expect(answer).toMatchObject({ StatusCode: 200, ExecutedVersion: "$LATEST" })
    expect([answer.FunctionError, answer.LogResult]).toEqual([undefined, undefined])
  })

  it.each([
    ["hello:prod", undefined, "1"],
    ["hello", "prod", "1"],
    ["arn:aws:lambda:eu-central-1:000000000000:function:hello:1", undefined, "1"],
    ["000000000000:function:hello", "$LATEST", "$LATEST"],
    ["function:hello", undefined, "$LATEST"],
  ])("finds %s with qualifier %s", async (FunctionName, Qualifier, version) => {
    const answer = await lambda.invoke({ FunctionName, ...(Qualifier === undefined ? {} : { Qualifier }) })
    expect(answer.ExecutedVersion).toBe(version)
  })

  it("takes no payload for an empty object, and an absent type for one that is answered", async () => {
    const { status, headers, text } = await send({})
    expect([status, text]).toEqual([200, "{}"])
    expect(headers).toMatchObject({ "x-amz-executed-version": "$LATEST", "content-type": "application/json" })
    expect(headers["x-amzn-requestid"]).toMatch(/^[0-9a-f-]{36}$/)
  })

  it("tells the end of the log to whoever asks for it", async () => {
    const answer = await lambda.invoke({ FunctionName: "hello", LogType: "Tail" })
    expect(Buffer.from(answer.LogResult ?? "", "base64").toString()).toMatch(/^START RequestId: [0-9a-f-]{36}\n$/)
  })

  it("tells that a function has failed, with what it says", async () => {
    const body = Buffer.from('{"errorType":"Error","errorMessage":"no"}')
    functions.memory.handler = () => ({ failure: { errorType: "Function.Unknown", body } })
    const answer = await lambda.invoke({ FunctionName: "hello", LogType: "Tail" })
    expect(answer).toMatchObject({ StatusCode: 200, FunctionError: "Unhandled", ExecutedVersion: "$LATEST" })
    expect(answer.Payload?.transformToString()).toBe(body.toString())
    expect(answer.LogResult).toBeDefined()
  })

  it("gives the function its client context, its trace, and the request's id", async () => {
    const seen: unknown[] = []
    functions.memory.handler = ({ spec }) => {
      seen.push(spec)
      return { body: "1" }
    }
    const ClientContext = Buffer.from('{"custom":{"a":1}}').toString("base64")
    const { $metadata } = await lambda.invoke({ FunctionName: "hello", ClientContext })
    expect(seen).toEqual([
      {
        requestId: $metadata.requestId,
        functionArn: "arn:aws:lambda:eu-central-1:000000000000:function:hello",
        mode: "buffered",
        clientContext: '{"custom":{"a":1}}',
        traceId: expect.stringMatching(/^Root=/),
      },
    ])
  })

  it("stores an asynchronous event, without a client context, and says no more", async () => {
    const answer = await lambda.invoke({
      FunctionName: "hello:prod",
      InvocationType: "Event",
      Payload: "[1]",
      ClientContext: Buffer.from("{}").toString("base64"),
    })
    expect([answer.StatusCode, answer.ExecutedVersion, answer.Payload ?? ""]).toEqual([202, undefined, ""])
    expect(functions.accepted).toMatchObject([
      { requestId: answer.$metadata.requestId, target: { name: "hello", qualifier: "prod" }, clientContext: undefined },
    ])
    expect(functions.accepted[0]?.payload.toString()).toBe("[1]")
    const old = await lambda.invokeAsync({ FunctionName: "hello", InvokeArgs: '{"old":1}' })
    expect(old.Status).toBe(202)
    expect(functions.accepted[1]?.payload.toString()).toBe('{"old":1}')
  })

  describe("by functions of each other, with the SDK in them,", () => {
    const rounds = () => functions.environments.made.reduce((sum, { events }) => sum + events, 0)
    afterEach(() => vi.unstubAllEnvs())

    /** Each event of `hello` makes another, as the SDK in its runtime would. */
    const goRound = (type: "RequestResponse" | "Event" = "RequestResponse") => {
      vi.stubEnv("AWS_LAMBDA_FUNCTION_NAME", "hello")
      functions.memory.handler = async ({ spec }) => {
        vi.stubEnv("_X_AMZN_TRACE_ID", spec.traceId)
        try {
          await lambda.invoke({ FunctionName: "hello", InvocationType: type })
          return { body: '"over"' }
        } catch (error) {
          return { body: JSON.stringify((error as Error).name + (error as Error).message) }
        }
      }
    }

    it("is stopped after sixteen rounds, unless the function allows it", async () => {
      goRound()
      const before = rounds()
      const seen: string[] = []
      const inner = functions.memory.handler!
      functions.memory.handler = async (event, environment) => {
        const answer = await inner(event, environment)
        if (typeof answer.body === "string") seen.push(answer.body)
        return answer
      }
      await lambda.invoke({ FunctionName: "hello" })
      expect(rounds() - before).toBe(16)
      expect(seen[0]).toMatch(/^"RecursiveInvocationExceptionLambda has detected your function being invoked in a rec/)
      expect(seen.slice(1)).toEqual(Array.from({ length: 15 }, () => '"over"'))
    })

    it("goes on where the function allows it", async () => {
      const name = { FunctionName: "hello" }
      await lambda.putFunctionRecursionConfig({ ...name, RecursiveLoop: "Allow" })
      goRound()
      const [before, inner] = [rounds(), functions.memory.handler!]
      functions.memory.handler = (event, environment) =>
        rounds() - before >= 20 ? { body: '"enough"' } : inner(event, environment)
      await lambda.invoke(name)
      expect(rounds() - before).toBe(20)
      await lambda.putFunctionRecursionConfig({ ...name, RecursiveLoop: "Terminate" })
    })

    it("counts on from an event to an asynchronous one", async () => {
      goRound("Event")
      await lambda.invoke({ FunctionName: "hello" })
      const { lineage = {} } = functions.accepted[0] ?? {}
      expect(Object.values(lineage)).toEqual([1])
    })

    it.each([
      ["no chain", "Root=1-1-1;Sampled=0", /^Root=1-1-1;Sampled=0;Lineage=[0-9a-f]{8}:1$/],
      ["another's", "Root=1-1-1;Lineage=0a1b2c3d:5", /^Root=1-1-1;Lineage=0a1b2c3d:5\|[0-9a-f]{8}:1$/],
      ["AWS's own form", "Lineage=1:0a1b2c3d:5;Root=1-1-1", /^Root=1-1-1;Lineage=[0-9a-f]{8}:1$/],
      ["nonsense", "Lineage=__proto__:1|x|:|0a1b2c3d:-1|0a1b2c3d:999;Lineage=b", /^Lineage=[0-9a-f]{8}:1$/],
      ["nothing", "Root=1;Lineage=", /^Root=1;Lineage=[0-9a-f]{8}:1$/],
      ["too much", `Root=1;Lineage=${"0a1b2c3d:1|".repeat(200)}`, /^Root=1-[0-9a-f-]{33};.*;Lineage=[0-9a-f]{8}:1$/],
      [
        "many",
        `Root=1;Lineage=${Array.from({ length: 40 }, (_, n) => `${10_000_000 + n}:1`).join("|")}`,
        /^Root=1;Lineage=(\d{8}:1\|?){32}$/,
      ],
    ])("hands on a chain that a stranger sends, and takes no harm: %s", async (_, sent, given) => {
      const seen: unknown[] = []
      functions.memory.handler = ({ spec }) => {
        seen.push(spec.traceId)
        return { body: "1" }
      }
      expect((await send({ headers: { "x-amzn-trace-id": sent } })).status).toBe(200)
      expect(seen).toEqual([expect.stringMatching(given)])
    })
  })

  it("only looks when asked to", async () => {
    functions.memory.handler = () => {
      throw new Error("It was invoked")
    }
    expect((await lambda.invoke({ FunctionName: "hello", InvocationType: "DryRun" })).StatusCode).toBe(204)
    const absent = lambda.invoke({ FunctionName: "nobody", InvocationType: "DryRun" })
    expect((await refusalOf(absent)).name).toBe("ResourceNotFoundException")
  })

  it("refuses what is no event", async () => {
    const refused = await refusalOf(lambda.invoke({ FunctionName: "hello", Payload: "{" }))
    expect(refused).toMatchObject({ name: "InvalidRequestContentException", status: 400 })
    expect(refused.message).toMatch(/^Could not parse request body into json: Could not parse payload into json: ./)
    const context = lambda.invoke({ FunctionName: "hello", ClientContext: "bm8=" })
    expect((await refusalOf(context)).message).toBe("Client context must be a valid Base64-encoded JSON object.")
    const long = lambda.invoke({
      FunctionName: "hello",
      ClientContext: Buffer.from(JSON.stringify("x".repeat(3000))).toString("base64"),
    })
    expect((await refusalOf(long)).name).toBe("InvalidRequestContentException")
  })

  it("refuses payloads that are too large, in the words for each way", async () => {
    const { status, headers, text } = await send({ body: `"${"x".repeat(6_291_456)}"` })
    expect([status, headers["x-amzn-errortype"], JSON.parse(text)]).toEqual([
      413,
      "RequestEntityTooLargeException",
      { Message: "Request must be smaller than 6291456 bytes for the InvokeFunction operation" },
    ])
    const largest = `"${"x".repeat(6_291_454)}"`
    expect((await lambda.invoke({ FunctionName: "hello", Payload: largest })).Payload?.length).toBe(6_291_456)
  })

  it("refuses what it doesn't know, or what no function is", async () => {
    const { status, text } = await send({ headers: { "x-amz-invocation-type": "Sometimes" } })
    expect([status, JSON.parse(text)]).toEqual([
      400,
      {
        message:
          "1 validation error detected: Value 'Sometimes' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: [Event, RequestResponse, DryRun]",
      },
    ])
    for (const more of [{ TenantId: "a" }, { DurableExecutionName: "a" }]) {
      const refused = await refusalOf(lambda.invoke({ FunctionName: "hello", ...more }))
      expect(refused.message).toContain(`${Object.keys(more)[0]} isn't supported`)
    }
    expect(await refusalOf(lambda.invoke({ FunctionName: "hello:prod", Qualifier: "1" }))).toMatchObject({
      name: "InvalidParameterValueException",
    })
    expect(await refusalOf(lambda.invoke({ FunctionName: "nobody" }))).toEqual({
      name: "ResourceNotFoundException",
      status: 404,
      message: "Function not found: arn:aws:lambda:eu-central-1:000000000000:function:nobody:$LATEST",
    })
  })

  it("throttles with a reason and a time", async () => {
    await lambda.createFunction(await functionInput("none"))
    await functions.settling.settled()
    await lambda.putFunctionConcurrency({ FunctionName: "none", ReservedConcurrentExecutions: 0 })
    await expect(lambda.invoke({ FunctionName: "none" })).rejects.toMatchObject({
      name: "TooManyRequestsException",
      message: "Rate Exceeded.",
      Reason: "ReservedFunctionConcurrentInvocationLimitExceeded",
      retryAfterSeconds: "1",
    })
    const stream = lambda.invokeWithResponseStream({ FunctionName: "none" })
    expect((await refusalOf(stream)).name).toBe("TooManyRequestsException")
  })

  it("says that the host cannot when no environment starts", async () => {
    functions.memory.init = () => Promise.reject(new Error("no kernel"))
    await lambda.createFunction(await functionInput("broken"))
    await functions.settling.settled()
    expect(await refusalOf(lambda.invoke({ FunctionName: "broken" }))).toMatchObject({
      name: "ServiceException",
      status: 500,
    })
    delete functions.memory.init
  })

  it("gives up the place of a caller that has gone", async () => {
    functions.memory.init = () => new Promise(() => {})
    await lambda.createFunction(await functionInput("slow"))
    await functions.settling.settled()
    const gone = new AbortController()
    const waiting = lambda.invoke({ FunctionName: "slow" }, { abortSignal: gone.signal })
    await expect.poll(() => functions.invoking.pool.use.waiting).toBe(1)
    gone.abort()
    await expect(waiting).rejects.toThrow()
    await expect.poll(() => functions.invoking.pool.use.waiting).toBe(0)
    delete functions.memory.init
  })

  describe("with a response stream", () => {
    const eventsOf = async (stream: AsyncIterable<InvokeWithResponseStreamResponseEvent> | undefined) => {
      const [pieces, ends]: [Uint8Array[], unknown[]] = [[], []]
      for await (const { PayloadChunk, InvokeComplete } of stream ?? []) {
        if (PayloadChunk?.Payload !== undefined) pieces.push(PayloadChunk.Payload)
        if (InvokeComplete !== undefined) ends.push(InvokeComplete)
      }
      return { pieces: pieces.map((piece) => Buffer.from(piece).toString()), ends }
    }

    it("answers piece by piece, and tells the end", async () => {
      functions.memory.handler = () => ({
        isStreamed: true,
        contentType: "text/plain",
        body: Readable.from([Buffer.from("one"), Buffer.from("two")]),
      })
      const answer = await lambda.invokeWithResponseStream({ FunctionName: "hello", Payload: "{}" })
      expect([answer.StatusCode, answer.ExecutedVersion]).toEqual([200, "$LATEST"])
      expect(answer.ResponseStreamContentType).toBe("application/vnd.amazon.eventstream")
      const { pieces, ends } = await eventsOf(answer.EventStream)
      expect(pieces.join("")).toBe("onetwo")
      expect(ends).toEqual([{}])
    })

    it("tells the log's end with the stream's", async () => {
      const { EventStream } = await lambda.invokeWithResponseStream({ FunctionName: "hello", LogType: "Tail" })
      const { ends } = await eventsOf(EventStream)
      expect(ends).toEqual([{ LogResult: expect.stringMatching(/^U1RBUlQ/) }])
    })

    it("tells of a failure behind what came before it", async () => {
      const body = Buffer.from('{"errorType":"Error","errorMessage":"midway"}')
      functions.memory.handler = () => ({
        isStreamed: true,
        body: Readable.from([Buffer.from("so far")]),
        failure: { errorType: "Function.Unknown", body },
      })
      const { EventStream } = await lambda.invokeWithResponseStream({ FunctionName: "hello" })
      expect(await eventsOf(EventStream)).toEqual({
        pieces: ["so far"],
        ends: [{ ErrorCode: "Unhandled", ErrorDetails: body.toString() }],
      })
    })

    it("refuses before the stream as any operation does", async () => {
      const absent = lambda.invokeWithResponseStream({ FunctionName: "nobody" })
      expect((await refusalOf(absent)).name).toBe("ResourceNotFoundException")
      const dry = lambda.invokeWithResponseStream({ FunctionName: "hello", InvocationType: "DryRun" })
      expect((await dry).StatusCode).toBe(204)
    })

    it("waits for a reader that doesn't read, and lets the function go when that leaves", async () => {
      let made = 0
      const source = new Readable({
        read() {
          made += 1
          this.push(Buffer.alloc(65_536))
        },
      })
      functions.memory.handler = () => ({ isStreamed: true, body: source })
      const path = "/2021-11-15/functions/hello/response-streaming-invocations"
      const { port } = functions.api
      const { headers } = sign({ method: "POST", path }, `127.0.0.1:${port}`)
      const asked = request({ host: "127.0.0.1", port, method: "POST", path, headers })
      asked.end()
      const [answer] = (await once(asked, "response")) as [Readable]
      answer.pause()
      let before = -1
      await expect
        .poll(
          () => {
            const isStill = made === before
            before = made
            return isStill
          },
          { interval: 200 },
        )
        .toBe(true)
      expect(made * 65_536).toBeLessThan(32 * 2 ** 20)
      asked.destroy()
      await expect.poll(() => source.destroyed).toBe(true)
    })
  })
})
