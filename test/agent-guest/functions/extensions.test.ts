import { describe, expect, test } from "vitest"
import type { RuntimeApi } from "../../../images/agent/functions/runtime-api.ts"
import { ARN, eventOf, openApi, openFiles, resultOf, startProgram } from "./program.ts"

const EXTENSION = "/2020-01-01/extension"

const call = async (api: RuntimeApi, method: string, path: string, body?: unknown, headers = {}) => {
  const text = typeof body === "string" ? body : JSON.stringify(body)
  const answer = await fetch(`http://127.0.0.1:${api.port}${path}`, {
    method,
    headers,
    ...(body === undefined ? {} : { body: text }),
  })
  return { status: answer.status, headers: answer.headers, text: await answer.text() }
}
const register = (api: RuntimeApi, name: string, events: unknown = ["INVOKE"], headers = {}) =>
  call(api, "POST", `${EXTENSION}/register`, { events }, { "Lambda-Extension-Name": name, ...headers })
const refusal = async (answer: ReturnType<typeof call>) => {
  const { status, text } = await answer
  return `${status} ${(JSON.parse(text) as { errorType: string }).errorType}`
}

/** An external extension, as AWS shows one: it registers, and tells what it hears of, one line each. */
const EXTERNAL = `#!/bin/sh
set -eu
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
name=$(basename "$0")
id=$(curl -sS -D - -o /dev/null -H "Lambda-Extension-Name: $name" -d '{"events":["INVOKE","SHUTDOWN"]}' "$api/register" |
  sed -n 's/^lambda-extension-identifier: *\\([^[:space:]]*\\).*/\\1/ip')
while true; do
  event=$(curl -sS -H "Lambda-Extension-Identifier: $id" "$api/event/next")
  echo "$event"
  case $event in *SHUTDOWN*) exit 0 ;; esac
done
`

describe("An extension", () => {
  test("of its own program hears of each invocation, with which it is over, and of the end", async () => {
    await using files = await openFiles({ watcher: EXTERNAL })
    await using api = await openApi({ extensions: ["watcher"] })
    const waiting = call(api, "GET", "/2018-06-01/runtime/invocation/next")
    const answer = api.invoke(eventOf("early", { traceId: "Root=1-2-3", requestId: "first", deadlineMs: 1234 }))
    // The runtime asks already; the invocation begins with the last of all.
    await using program = startProgram(api, [`${files.path}/watcher`])
    await api.registered
    expect((await waiting).text).toBe('"early"')
    await call(api, "POST", "/2018-06-01/runtime/invocation/first/response", "1")
    expect(await resultOf(answer)).toEqual({ response: "1" })
    const idle = call(api, "GET", "/2018-06-01/runtime/invocation/next").catch(() => {})
    await answer.settled
    api.shutdown("SPINDOWN", 5678)
    expect(await program.closed).toEqual([0, null])
    await api[Symbol.asyncDispose]()
    await idle
    expect(
      program.said.stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([
      {
        eventType: "INVOKE",
        deadlineMs: 1234,
        requestId: "first",
        invokedFunctionArn: ARN,
        tracing: { type: "X-Amzn-Trace-Id", value: "Root=1-2-3" },
      },
      { eventType: "SHUTDOWN", shutdownReason: "SPINDOWN", deadlineMs: 5678 },
    ])
  })

  test("is told what function it belongs to, and of its account when it asks", async () => {
    await using api = await openApi()
    const one = await register(api, "one")
    expect(one.status).toBe(200)
    expect(one.headers.get("lambda-extension-identifier")).toMatch(/^[\da-f-]{36}$/)
    expect(JSON.parse(one.text)).toEqual({ functionName: "greet", functionVersion: "3", handler: "index.handler" })
    const two = await register(api, "two", [], { "Lambda-Extension-Accept-Feature": "other, accountId" })
    expect(JSON.parse(two.text)).toMatchObject({ functionName: "greet", accountId: "000000000000" })
  })

  test("is refused with AWS's names when it isn't one, is one too many, or is late", async () => {
    await using api = await openApi({ extensions: ["outside"] })
    expect(await refusal(register(api, ""))).toBe("403 Extension.InvalidExtensionName")
    expect(await refusal(register(api, "x".repeat(200)))).toBe("403 Extension.InvalidExtensionName")
    expect(await refusal(register(api, "one", "INVOKE"))).toBe("403 Extension.InvalidRequestFormat")
    const named = { "Lambda-Extension-Name": "one" }
    expect(await refusal(call(api, "POST", `${EXTENSION}/register`, "{", named))).toBe(
      "403 Extension.InvalidRequestFormat",
    )
    expect(await refusal(call(api, "POST", `${EXTENSION}/register`, "x".repeat(70_000), named))).toBe(
      "403 Extension.InvalidRequestFormat",
    )
    expect(await refusal(register(api, "one", ["INVOKE", "BREAK"]))).toBe("403 Extension.InvalidEventType")
    // A part of the runtime ends with it, and is not told before.
    expect(await refusal(register(api, "inside", ["SHUTDOWN"]))).toBe("403 Extension.InvalidEventType")
    const outside = await register(api, "outside", ["SHUTDOWN"])
    const id = outside.headers.get("lambda-extension-identifier") ?? ""
    expect(outside.status).toBe(200)
    expect(await refusal(register(api, "outside"))).toBe("403 Extension.InvalidExtensionState")
    const others: string[] = []
    for (let n = 0; n < 9; n++)
      others.push((await register(api, `inside ${n}`)).headers.get("lambda-extension-identifier") ?? "")
    expect(await refusal(register(api, "eleventh"))).toBe("403 Extension.TooManyExtensions")

    const next = (identifier?: string) =>
      call(
        api,
        "GET",
        `${EXTENSION}/event/next`,
        undefined,
        identifier === undefined ? {} : { "Lambda-Extension-Identifier": identifier },
      )
    expect(await refusal(next())).toBe("403 Extension.MissingExtensionIdentifier")
    expect(await refusal(next("me"))).toBe("403 Extension.InvalidExtensionIdentifier")
    expect(await refusal(next("00000000-0000-4000-8000-000000000000"))).toBe("403 Extension.UnknownExtensionIdentifier")

    const asking = [id, ...others].map((identifier) => next(identifier).catch(() => undefined))
    const runtime = call(api, "GET", "/2018-06-01/runtime/invocation/next").catch(() => undefined)
    await api.initialised
    expect(await refusal(register(api, "late"))).toBe("403 Extension.RegistrationClosed")
    await api[Symbol.asyncDispose]()
    await Promise.all([...asking, runtime])
  })

  test("that cannot begin, or cannot go on, ends the environment and the invocation in it", async () => {
    for (const [path, errorType] of [
      ["init/error", "Extension.InitError"],
      ["exit/error", "Extension.ExitError"],
    ] as const) {
      await using api = await openApi()
      const answer = api.invoke(eventOf(1))
      const id = (await register(api, "one")).headers.get("lambda-extension-identifier") ?? ""
      const headers = { "Lambda-Extension-Identifier": id }
      expect(await refusal(call(api, "POST", `${EXTENSION}/${path}`, {}, headers))).toBe("403 Extension.MissingHeader")
      const told = { ...headers, "Lambda-Extension-Function-Error-Type": "One.Broken" }
      expect(await call(api, "POST", `${EXTENSION}/${path}`, {}, told)).toMatchObject({
        status: 202,
        text: '{"status":"OK"}\n',
      })
      expect(await resultOf(answer)).toMatchObject({
        errorType,
        error: { errorType, errorMessage: expect.stringContaining("extension one: One.Broken") },
      })
      expect((await api.failed).errorType).toBe(errorType)
      expect(await refusal(call(api, "GET", `${EXTENSION}/event/next`, undefined, headers))).toBe(
        "403 Extension.InvalidExtensionState",
      )
    }
  })

  test("that doesn't hear of invocations holds none up; one that does holds the next", async () => {
    await using api = await openApi()
    const ids: string[] = []
    for (const events of [["INVOKE"], []])
      ids.push((await register(api, `of ${events.length}`, events)).headers.get("lambda-extension-identifier") ?? "")
    const ask = (id: string | undefined) =>
      call(api, "GET", `${EXTENSION}/event/next`, undefined, { "Lambda-Extension-Identifier": id })
    const next = () => call(api, "GET", "/2018-06-01/runtime/invocation/next")
    const [listening, quiet, runtime] = [ask(ids[0]), ask(ids[1]).catch(() => undefined), next()]
    await api.initialised
    const answer = api.invoke(eventOf(1, { requestId: "a" }))
    await runtime
    await call(api, "POST", "/2018-06-01/runtime/invocation/a/response", "1")
    expect((await listening).headers.get("lambda-extension-event-identifier")).toMatch(/^[\da-f-]{36}$/)
    let isSettled = false
    void answer.settled.then(() => (isSettled = true))
    // One of two is refused when the other waits: now the runtime is known to have asked.
    const again = [next(), next()].map((asked) => asked.catch(() => undefined))
    expect((await Promise.race(again))?.status).toBe(403)
    expect(() => api.invoke(eventOf(2))).toThrow("is not over")
    expect(isSettled).toBe(false)
    const listeningAgain = ask(ids[0]).catch(() => undefined)
    await answer.settled
    await api[Symbol.asyncDispose]()
    await Promise.all([quiet, ...again, listeningAgain])
  })
})
