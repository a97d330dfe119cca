import { once } from "node:events"
import { createServer } from "node:http"
import { createServer as createTcpServer, type AddressInfo } from "node:net"
import { describe, expect, test } from "vitest"
import type { RuntimeApi } from "../../../images/agent/functions/runtime-api.ts"
import { createSubscription } from "../../../images/agent/functions/telemetry/subscription.ts"
import { eventOf, openApi, resultOf } from "./program.ts"

interface Item {
  readonly time: string
  readonly type: string
  readonly record: Record<string, unknown>
}

/** An extension's listener: takes what is posted to it, while it is let. */
const openListener = async () => {
  const items: Item[] = []
  const batches: number[] = []
  let gate = Promise.resolve()
  const server = createServer(async (request, response) => {
    let text = ""
    for await (const chunk of request.setEncoding("utf8")) text += chunk as string
    const batch = JSON.parse(text) as Item[]
    batches.push(batch.length)
    items.push(...batch)
    await gate
    response.end()
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return {
    items,
    batches,
    port: (server.address() as AddressInfo).port,
    /** Takes, and doesn't say so, until the answer is called. */
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>()
      gate = promise
      return resolve
    },
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

const register = async (api: RuntimeApi, name = "watcher") => {
  const answer = await fetch(`http://127.0.0.1:${api.port}/2020-01-01/extension/register`, {
    method: "POST",
    body: '{"events":[]}',
    headers: { "Lambda-Extension-Name": name },
  })
  return answer.headers.get("lambda-extension-identifier") ?? ""
}
const subscribe = async (api: RuntimeApi, id: string, body: unknown, path = "/2022-07-01/telemetry") => {
  const answer = await fetch(`http://127.0.0.1:${api.port}${path}`, {
    method: "PUT",
    body: JSON.stringify(body),
    headers: { "Lambda-Extension-Identifier": id },
  })
  return { status: answer.status, text: await answer.text() }
}
const next = (api: RuntimeApi) => fetch(`http://127.0.0.1:${api.port}/2018-06-01/runtime/invocation/next`)
const ready = (api: RuntimeApi, id: string) =>
  fetch(`http://127.0.0.1:${api.port}/2020-01-01/extension/event/next`, {
    headers: { "Lambda-Extension-Identifier": id },
  }).catch(() => undefined)
const http = (port: number) => ({ protocol: "HTTP", URI: `http://sandbox.localdomain:${port}/telemetry` })

describe("A subscribed extension", () => {
  test("is told of init, invocations, what programs say, and what the host reports, in order and from the beginning", async () => {
    await using listener = await openListener()
    await using api = await openApi()
    const id = await register(api)
    const asked = { schemaVersion: "2022-12-13", types: ["platform", "function"], destination: http(listener.port) }
    const buffering = { maxItems: 1000, maxBytes: 262_144, timeoutMs: 25 }
    expect(await subscribe(api, id, { ...asked, buffering })).toEqual({ status: 200, text: "OK" })
    const waiting = ready(api, id)
    const given = next(api)
    await api.initialised
    const answer = api.invoke(eventOf(1, { requestId: "r" }))
    await given
    api.line("function", "hello")
    api.line("extension", "not asked for")
    await fetch(`http://127.0.0.1:${api.port}/2018-06-01/runtime/invocation/r/response`, { method: "POST", body: "1" })
    await resultOf(answer)
    const again = next(api).catch(() => undefined)
    await answer.settled
    api.record("platform.report", { requestId: "r", status: "success" })
    await expect.poll(() => listener.items.at(-1)?.type).toBe("platform.report")
    const init = { initializationType: "on-demand", phase: "init" }
    expect(listener.items.map(({ type, record }) => [type, record])).toEqual([
      ["platform.initStart", { ...init, functionName: "greet", functionVersion: "3" }],
      ["platform.extension", { name: "watcher", state: "Registered", events: [] }],
      ["platform.telemetrySubscription", { name: "watcher", state: "Subscribed", types: ["platform", "function"] }],
      ["platform.initRuntimeDone", { ...init, status: "success" }],
      ["platform.initReport", { ...init, metrics: { durationMs: expect.any(Number) } }],
      ["platform.start", expect.objectContaining({ requestId: "r", version: "3" })],
      ["function", "hello"],
      [
        "platform.runtimeDone",
        { requestId: "r", status: "success", metrics: { durationMs: expect.any(Number), producedBytes: 1 } },
      ],
      ["platform.report", { requestId: "r", status: "success" }],
    ])
    for (const { time } of listener.items) expect(new Date(time).toISOString()).toBe(time)
    expect((await subscribe(api, id, asked)).text).toContain("Telemetry.SubscriptionClosed")
    await api[Symbol.asyncDispose]()
    await Promise.all([waiting, again])
  })

  test("by TCP gets a line each", async () => {
    let heard = ""
    const server = createTcpServer((socket) => socket.setEncoding("utf8").on("data", (data: string) => (heard += data)))
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    const { port } = server.address() as AddressInfo
    await using api = await openApi()
    const id = await register(api)
    const asked = { types: ["extension"], destination: { protocol: "TCP", port }, buffering: { timeoutMs: 25 } }
    expect(await subscribe(api, id, asked, "/2020-08-15/logs")).toEqual({ status: 200, text: "OK" })
    api.line("extension", "one")
    await expect.poll(() => heard).toContain("one")
    api.line("extension", "two")
    await expect.poll(() => heard).toContain("two")
    const records = heard
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { record: unknown }).record)
    expect(records).toEqual(["one", "two"])
    server.close()
  })

  test("is refused by the name of what it asks wrongly, and nothing is ever sent out of the guest", async () => {
    await using api = await openApi()
    const id = await register(api)
    const well = { types: ["platform"], destination: http(1) }
    for (const [wrong, member] of [
      [{ ...well, types: ["everything"] }, "types"],
      [{ ...well, types: [] }, "types"],
      [{ ...well, schemaVersion: "2030-01-01" }, "schemaVersion"],
      [{ ...well, destination: { protocol: "UDP" } }, "destination.protocol"],
      [{ ...well, destination: { protocol: "TCP", port: 0 } }, "destination.port"],
      [{ ...well, destination: { protocol: "HTTP", URI: "http://169.254.169.254/" } }, "destination.URI"],
      [{ ...well, destination: { protocol: "HTTP", URI: "https://sandbox:4243" } }, "destination.URI"],
      [{ ...well, buffering: { maxItems: 999 } }, "buffering.maxItems"],
      [{ ...well, buffering: { maxBytes: 1_048_577 } }, "buffering.maxBytes"],
      [{ ...well, buffering: { timeoutMs: 1.5 } }, "buffering.timeoutMs"],
    ] as const) {
      const { status, text } = await subscribe(api, id, wrong)
      expect([status, text]).toEqual([400, expect.stringContaining(`"${member}: `)])
    }
    expect((await subscribe(api, "me", well)).text).toContain("Extension.InvalidExtensionIdentifier")
  })

  test("that is slow gets what there is room for, then how much it has lost, and then goes on", async () => {
    await using listener = await openListener()
    const subscription = createSubscription({
      types: new Set(["function"]),
      destination: { protocol: "HTTP", url: new URL(`http://localhost:${listener.port}/`) },
      maxItems: 1000,
      maxBytes: 262_144,
      timeoutMs: 30_000,
    })
    const letGo = listener.hold()
    const add = (n: number) => subscription.add(JSON.stringify({ time: "", type: "function", record: n }))
    for (let n = 0; n < 5000; n++) add(n)
    await expect.poll(() => listener.items.length).toBe(1000)
    letGo()
    await subscription.flush()
    expect(listener.batches).toEqual([1000, 1001])
    expect(listener.items.at(-1)).toMatchObject({
      type: "platform.logsDropped",
      record: {
        droppedRecords: 3000,
        droppedBytes: 3000 * (JSON.stringify({ time: "", type: "function", record: 4999 }).length + 1),
      },
    })
    add(5000)
    await subscription.flush()
    expect(listener.items.at(-1)?.record).toBe(5000)
    subscription.close()
  })
})
