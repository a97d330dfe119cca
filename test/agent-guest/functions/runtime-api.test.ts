import { request as httpRequest, Agent } from "node:http"
import { connect } from "node:net"
import { describe, expect, test } from "vitest"
import { toFailure } from "../../../images/agent/functions/invocation.ts"
import type { RuntimeApi } from "../../../images/agent/functions/runtime-api.ts"
import { startFunction } from "./function.ts"
import { ARN, eventOf, openApi, resultOf, startProgram, textOf } from "./program.ts"

const RUNTIME = "/2018-06-01/runtime"

const call = async (api: RuntimeApi, method: string, path: string, body?: string | Buffer, headers = {}) => {
  const answer = await fetch(`http://127.0.0.1:${api.port}${path}`, { method, headers, ...(body ? { body } : {}) })
  return { status: answer.status, headers: answer.headers, text: await answer.text() }
}
const next = (api: RuntimeApi) => call(api, "GET", `${RUNTIME}/invocation/next`)
const respond = (api: RuntimeApi, id: string, body: string | Buffer, headers = {}) =>
  call(api, "POST", `${RUNTIME}/invocation/${id}/response`, body, headers)

/** A client that says exactly these bytes, then no more, and hears all. */
const say = async (api: RuntimeApi, ...pieces: readonly string[]): Promise<string> => {
  const socket = connect({ port: api.port, host: "127.0.0.1", allowHalfOpen: true })
  for (const piece of pieces) socket.write(piece)
  socket.end()
  let heard = ""
  for await (const data of socket.setEncoding("utf8")) heard += data as string
  return heard
}

const BOOTSTRAP = `#!/bin/sh
set -eu
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
headers=$(mktemp)
while true; do
  event=$(curl -sS -L -D "$headers" "$api/invocation/next")
  id=$(sed -n 's/^lambda-runtime-aws-request-id: *\\([^[:space:]]*\\).*/\\1/ip' "$headers")
  case $event in
    *fail*) curl -sS -X POST "$api/invocation/$id/error" -d '{"errorType":"Shell","errorMessage":"asked to"}' \\
              -H 'Lambda-Runtime-Function-Error-Type: Function.Asked' ;;
    *) curl -sS -X POST "$api/invocation/$id/response" -d "{\\"echo\\":$event}" ;;
  esac
done
`

const PYTHON = `
import http.client, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse()
    event = answer.read()
    path = "/2018-06-01/runtime/invocation/%s/response" % answer.headers["Lambda-Runtime-Aws-Request-Id"]
    pieces = (event[at:at + 3] for at in range(0, len(event), 3))
    api.request("POST", path, body=pieces, headers={"Lambda-Runtime-Function-Response-Mode": "streaming", "Content-Type": "text/plain"}, encode_chunked=True)
    assert api.getresponse().read() == b'{"status":"OK"}\\n'
`

describe("A custom runtime", () => {
  test("in shell with curl takes events one after the other, answers them, and fails when it is asked to", async () => {
    const code = { bootstrap: BOOTSTRAP }
    await using started = await startFunction({ language: "provided", handler: "free.text", code })
    const { api, program } = started
    await api.initialised
    for (const n of [1, 2, 3]) {
      const answer = api.invoke(eventOf({ n }))
      expect(await resultOf(answer), program.said.stderr).toEqual({ response: `{"echo":{"n":${n}}}` })
      await answer.settled
    }
    expect(await resultOf(api.invoke(eventOf("fail")))).toEqual({
      response: "",
      errorType: "Function.Asked",
      error: { errorType: "Shell", errorMessage: "asked to" },
    })
  })

  test("that brings no bootstrap is told so in its log, and exits as a shell does that finds nothing", async () => {
    await using started = await startFunction({ language: "provided", handler: "free.text", code: {} })
    expect(await started.program.closed).toEqual([127, null])
    expect(started.program.said.stderr).toMatch(/^Couldn't find valid bootstrap\(s\): /)
  })

  test("in Python streams what it answers, over one connection, to whoever takes streams and to whoever doesn't", async () => {
    await using api = await openApi()
    await using program = startProgram(api, ["python3", "-c", PYTHON])
    for (const mode of ["streaming", "buffered", "streaming"] as const) {
      const answer = api.invoke(eventOf("one and two and three", { mode }))
      expect(await resultOf(answer), program.said.stderr).toEqual({ response: '"one and two and three"' })
      expect(await answer.head).toEqual({ contentType: "text/plain", isStreamed: true })
      await answer.settled
    }
  })
})

describe("The Runtime API", () => {
  test("tells with the event all that is known of it, and nothing of what isn't", async () => {
    await using api = await openApi()
    const full = eventOf("€", {
      contentType: "text/x",
      traceId: "Root=1-2-3",
      clientContext: '{"custom":{"ä":"\u{1f600}"}}',
      cognitoIdentity: '{"cognitoIdentityId":"a"}',
      tenantId: "t",
    })
    const answer = api.invoke(full)
    const first = await next(api)
    expect(first.status).toBe(200)
    expect(first.text).toBe('"€"')
    const told = Object.fromEntries([...first.headers].filter(([name]) => /^(?:lambda|content-type)/.test(name)))
    expect(told).toMatchObject({
      "content-type": "text/x",
      "lambda-runtime-aws-request-id": full.requestId,
      "lambda-runtime-deadline-ms": String(full.deadlineMs),
      "lambda-runtime-invoked-function-arn": ARN,
      "lambda-runtime-trace-id": "Root=1-2-3",
      "lambda-runtime-cognito-identity": '{"cognitoIdentityId":"a"}',
      "lambda-runtime-aws-tenant-id": "t",
    })
    const context = Buffer.from(told["lambda-runtime-client-context"] ?? "", "latin1").toString("utf8")
    expect(context).toBe(full.clientContext)
    expect(await respond(api, full.requestId, "1")).toMatchObject({ status: 202, text: '{"status":"OK"}\n' })

    const waiting = next(api)
    await answer.settled
    api.invoke(eventOf(2))
    const names = [...(await waiting).headers.keys()].filter((name) => name.startsWith("lambda"))
    expect(names.toSorted()).toEqual([
      "lambda-runtime-aws-request-id",
      "lambda-runtime-deadline-ms",
      "lambda-runtime-invoked-function-arn",
    ])
  })

  test("takes an answer for the event that was given, once, and nothing out of turn", async () => {
    await using api = await openApi()
    const unknown = { errorMessage: "Invalid request ID", errorType: "InvalidRequestID" }
    const early = await respond(api, "nobody", "1")
    expect([early.status, JSON.parse(early.text)]).toEqual([400, unknown])
    const answer = api.invoke(eventOf(1))
    const { headers } = await next(api)
    const id = headers.get("lambda-runtime-aws-request-id") ?? ""
    const again = await next(api)
    expect([again.status, JSON.parse(again.text)]).toEqual([
      403,
      {
        errorMessage:
          "State transition from Running to Ready failed for runtime. Error: State transition is not allowed",
        errorType: "InvalidStateTransition",
      },
    ])
    expect((await respond(api, "nobody", "1")).status).toBe(400)
    const mode = await respond(api, id, "1", { "Lambda-Runtime-Function-Response-Mode": "quick" })
    expect([mode.status, mode.text]).toEqual([400, expect.stringContaining('"InvalidFunctionResponseMode"')])
    expect((await respond(api, id, "1")).status).toBe(202)
    expect((await respond(api, id, "2")).status).toBe(400)
    expect((await call(api, "POST", `${RUNTIME}/invocation/${id}/error`, "{}")).status).toBe(400)
    expect(await resultOf(answer)).toEqual({ response: "1" })
    expect(await call(api, "POST", `${RUNTIME}/init/error`, "{}")).toMatchObject({ status: 403 })
    expect(await call(api, "GET", `${RUNTIME}/restore/next`)).toMatchObject({ status: 403 })
    expect(await call(api, "GET", "/2018-06-01/ping")).toMatchObject({ status: 200, text: "pong" })
    expect(await call(api, "GET", `${RUNTIME}/elsewhere`)).toMatchObject({ status: 404 })
    expect(await call(api, "DELETE", `${RUNTIME}/invocation/next`)).toMatchObject({ status: 405 })
  })

  test("takes 6291556 bytes and not one more; then the invocation has failed, and the next works", async () => {
    await using api = await openApi()
    const most = api.invoke(eventOf(1))
    const first = await next(api)
    const id = first.headers.get("lambda-runtime-aws-request-id") ?? ""
    const text = textOf(most)
    expect((await respond(api, id, Buffer.alloc(6_291_556, "x"))).status).toBe(202)
    expect((await text).length).toBe(6_291_556)

    const waiting = next(api)
    await most.settled
    const more = api.invoke(eventOf(2))
    const second = (await waiting).headers.get("lambda-runtime-aws-request-id") ?? ""
    const refused = await respond(api, second, Buffer.alloc(6_291_557, "x"))
    expect([refused.status, JSON.parse(refused.text)]).toEqual([
      413,
      { errorMessage: "Exceeded maximum allowed payload size (6291556 bytes).", errorType: "RequestEntityTooLarge" },
    ])
    expect(await resultOf(more)).toEqual({
      response: "",
      errorType: "Function.ResponseSizeTooLarge",
      error: {
        errorType: "Function.ResponseSizeTooLarge",
        errorMessage: "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
      },
    })
    expect((await call(api, "POST", `${RUNTIME}/invocation/${second}/error`, "{}")).status).toBe(400)

    const third = next(api)
    await more.settled
    const well = api.invoke(eventOf(3))
    await respond(api, (await third).headers.get("lambda-runtime-aws-request-id") ?? "", "3")
    expect(await resultOf(well)).toEqual({ response: "3" })
  })

  test("passes a stream on while it is sent, and its failure behind its last byte", async () => {
    await using api = await openApi({ maxStreamedBytes: 1000 })
    const streamed = (id: string) => {
      const agent = new Agent()
      return httpRequest({
        agent,
        method: "POST",
        port: api.port,
        path: `${RUNTIME}/invocation/${id}/response`,
        headers: {
          "Content-Type": "application/octet-stream",
          "Lambda-Runtime-Function-Response-Mode": "streaming",
          "Transfer-Encoding": "chunked",
          Trailer: "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
        },
      })
    }
    const given = async (waiting = next(api)) => (await waiting).headers.get("lambda-runtime-aws-request-id") ?? ""
    const answer = api.invoke(eventOf(1, { mode: "streaming" }))
    const request = streamed(await given())
    const answered = new Promise<number | undefined>((resolve) =>
      request.once("response", (response) => resolve(response.resume().statusCode)),
    )
    request.write("first")
    const body = answer.body()[Symbol.asyncIterator]() as AsyncIterator<Buffer>
    expect(String((await body.next()).value)).toBe("first")
    request.write("second")
    expect(String((await body.next()).value)).toBe("second")
    const error = { errorType: "Error", errorMessage: "midway" }
    request.addTrailers({
      "Lambda-Runtime-Function-Error-Type": "Error",
      "Lambda-Runtime-Function-Error-Body": Buffer.from(JSON.stringify(error)).toString("base64"),
    })
    request.end()
    expect(await answered).toBe(202)
    expect((await body.next()).done).toBe(true)
    const end = await answer.end
    expect([end?.errorType, JSON.parse(String(end?.body))]).toEqual(["Runtime.Unknown", error])

    // One that is too long ends where its limit is.
    const waiting = next(api)
    await answer.settled
    const long = api.invoke(eventOf(2, { mode: "streaming" }))
    const flood = streamed(await given(waiting))
    const refused = new Promise<number | undefined>((resolve) =>
      flood.once("response", (response) => resolve(response.resume().statusCode)),
    )
    for (let n = 0; n < 11; n++) flood.write("x".repeat(100))
    flood.end()
    expect(await refused).toBe(413)
    expect(await resultOf(long)).toMatchObject({ errorType: "Function.ResponseSizeTooLarge" })

    // And one that is cut off has failed.
    const third = next(api)
    await long.settled
    const cut = api.invoke(eventOf(3, { mode: "streaming" }))
    const half = streamed(await given(third))
    half.on("error", () => {})
    half.write("half")
    const bytes = cut.body()[Symbol.asyncIterator]() as AsyncIterator<Buffer>
    expect(String((await bytes.next()).value)).toBe("half")
    half.destroy()
    expect((await cut.end)?.errorType).toBe("Runtime.TruncatedResponse")
  })

  test("goes on with the runtime when nobody wants its stream any more", async () => {
    await using api = await openApi()
    const answer = api.invoke(eventOf(1, { mode: "streaming" }))
    const id = (await next(api)).headers.get("lambda-runtime-aws-request-id") ?? ""
    answer.body().destroy()
    const sent = await respond(api, id, Buffer.alloc(1_000_000), {
      "Lambda-Runtime-Function-Response-Mode": "streaming",
    })
    expect(sent.status).toBe(202)
    expect(await answer.end).toBeUndefined()
  })

  test("tells a client whose words are cut off or no HTTP, and lets a cut-off response be sent again", async () => {
    await using api = await openApi()
    const answer = api.invoke(eventOf(1))
    const id = (await next(api)).headers.get("lambda-runtime-aws-request-id") ?? ""
    const head = `POST ${RUNTIME}/invocation/${id}/response HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n`
    expect(await say(api, head, "half")).toMatch(/^HTTP\/1\.1 400 .*"TruncatedHTTPRequest"/s)
    expect(await say(api, "what is this?\r\n\r\n")).toMatch(/^HTTP\/1\.1 400 .*"MalformedHTTPRequest"/s)
    await expect.poll(async () => (await respond(api, id, "whole")).status).toBe(202)
    expect(await resultOf(answer)).toEqual({ response: "whole" })
  })

  test("of two that ask for the next event gives it to one, and to one that asks again after its connection broke", async () => {
    await using api = await openApi()
    const left = new AbortController()
    const gone = fetch(`http://127.0.0.1:${api.port}${RUNTIME}/invocation/next`, { signal: left.signal })
    await api.initialised
    left.abort()
    await expect(gone).rejects.toThrow()
    const both = [next(api), next(api)]
    expect((await Promise.race(both)).status).toBe(403)
    api.invoke(eventOf("for one"))
    const answers = (await Promise.all(both)).toSorted((one, other) => one.status - other.status)
    expect(answers.map(({ status }) => status)).toEqual([200, 403])
    expect(answers[0]?.text).toBe('"for one"')
  })

  test("gives what the runtime said of its failed init to the invocation that waits, and to those that follow", async () => {
    await using api = await openApi()
    const waiting = api.invoke(eventOf(1))
    const error = { errorType: "Runtime.ImportModuleError", errorMessage: "no", trace: [] }
    const said = await call(api, "POST", `${RUNTIME}/init/error`, JSON.stringify(error), {
      "Lambda-Runtime-Function-Error-Type": "Runtime.ImportModuleError",
    })
    expect(said).toMatchObject({ status: 202, text: '{"status":"OK"}\n' })
    expect(String((await api.failed).body)).toBe(JSON.stringify(error))
    const failed = { response: "", errorType: "Runtime.ImportModuleError", error }
    expect(await resultOf(waiting)).toEqual(failed)
    expect(await resultOf(api.invoke(eventOf(2)))).toEqual(failed)
  })

  test("ends an invocation with what its owner says of it, and takes no answer after that", async () => {
    await using api = await openApi()
    const answer = api.invoke(eventOf(1))
    const id = (await next(api)).headers.get("lambda-runtime-aws-request-id") ?? ""
    api.fail(toFailure("Sandbox.Timedout", "Task timed out"))
    expect(await resultOf(answer)).toMatchObject({ errorType: "Sandbox.Timedout" })
    await answer.settled
    expect((await respond(api, id, "late")).status).toBe(400)
  })

  test("lets a runtime wait for its restore, and hears when its hooks fail", async () => {
    await using api = await openApi({ initializationType: "snap-start" })
    const restored = call(api, "GET", `${RUNTIME}/restore/next`)
    await api.initialised
    const answer = api.invoke(eventOf(1))
    api.restore({})
    expect(await restored).toMatchObject({ status: 200, text: "" })
    const asked = next(api)
    await api.restored
    const id = (await asked).headers.get("lambda-runtime-aws-request-id") ?? ""
    await respond(api, id, "after")
    expect(await resultOf(answer)).toEqual({ response: "after" })

    await using other = await openApi({ initializationType: "snap-start" })
    const waiting = call(other, "GET", `${RUNTIME}/restore/next`)
    await other.initialised
    other.restore({})
    await waiting
    await call(other, "POST", `${RUNTIME}/restore/error`, '{"errorType":"Hook"}', {
      "Lambda-Runtime-Function-Error-Type": "Runtime.AfterRestoreError",
    })
    expect(await other.failed).toMatchObject({ errorType: "Runtime.AfterRestoreError" })
  })
})
