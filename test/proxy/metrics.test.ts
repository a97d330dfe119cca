import { once } from "node:events"
import type { IncomingMessage } from "node:http"
import { createServer } from "node:http2"
import { Registry } from "prom-client"
import { afterEach, beforeEach, expect, test } from "vitest"
import { createEdgeMetrics } from "../../proxy/metrics.ts"
import { eventually } from "../fixtures/eventually.ts"
import { connectHttp2 } from "./protocols/http2-client.ts"
import { openRawApp } from "./raw-app.ts"
import { listen, openTestEdge, type TestEdge } from "./test-edge.ts"

let edge: TestEdge
beforeEach(async () => void (edge = await openTestEdge()))
afterEach(() => edge[Symbol.asyncDispose]())

/** The value of a metric with labels, as Prometheus would read it. */
const read = async (name: string, labels: Record<string, string> = {}): Promise<number | undefined> => {
  const metric = (await edge.metrics.getMetricsAsJSON()).find((one) => one.name === name.replace(/_(?:count|sum)$/, ""))
  const values = (metric?.values ?? []) as { value: number; labels: Record<string, unknown>; metricName?: string }[]
  return values.find(
    (one) =>
      (one.metricName ?? name) === name &&
      Object.entries(labels).every(([label, value]) => one.labels[label] === value),
  )?.value
}
const becomes = (name: string, labels: Record<string, string>, value: number) =>
  eventually(async () => expect(await read(name, labels)).toBe(value))

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

test("Requests are counted by protocol, MicroVM and status, with their bytes; a refused one by its reason", async () => {
  await using app = await openRawApp((socket) => socket.write(OK))
  await using http2 = await connectHttp2(edge)
  const microvm = edge.vm.id
  await edge.get(app)
  await edge.get(app)
  await http2.get(app.port)
  await edge.get({ port: 1 })
  await edge.get(app, { headers: { "x-aws-proxy-auth": "none" } })
  await becomes("torpor_edge_requests_total", { protocol: "http/1.1", status: "2xx" }, 2)
  await becomes("torpor_edge_requests_total", { protocol: "h2", status: "2xx" }, 1)
  await becomes("torpor_microvm_requests_total", { microvm, status: "2xx" }, 3)
  await becomes("torpor_microvm_requests_total", { microvm, status: "5xx" }, 1)
  await becomes("torpor_microvm_bytes_total", { microvm, direction: "out" }, 3 * OK.length)
  await becomes("torpor_edge_refusals_total", { error: "UNAUTHORIZED" }, 1)
  await becomes("torpor_edge_refusals_total", { error: "APP_CONNECT_FAILED" }, 1)
  expect(await read("torpor_microvm_bytes_total", { microvm, direction: "in" })).toBe(app.received.join("").length)
  expect(await read("torpor_edge_connect_seconds_count")).toBeGreaterThan(0)
})

test("What is open is told while it is, also when its client leaves; a wait for a wake is measured", async () => {
  await using app = await openRawApp((socket) => socket.write("HTTP/1.1 200 OK\r\n\r\nan event"))
  const microvm = edge.vm.id
  edge.vm.address = undefined
  const request = edge.open(app).end()
  const [response] = (await once(request, "response")) as [IncomingMessage]
  await once(response, "data")
  expect(await read("torpor_microvm_open_requests", { microvm })).toBe(1)
  expect(await read("torpor_edge_wake_wait_seconds_count")).toBe(1)
  response.destroy()
  await becomes("torpor_microvm_open_requests", { microvm }, 0)
  await becomes("torpor_microvm_requests_total", { microvm, status: "2xx" }, 1)
})

test("How long each new connection to an application took is counted: without a body, with one, and over HTTP/2", async () => {
  await using app = await openRawApp((socket) => void (socket.bytesWritten === 0 && socket.write(OK)))
  const sessions = new Set<{ destroy(): void }>()
  const speaksHttp2 = createServer((_, response) => response.end()).on("session", (session) => sessions.add(session))
  const ask = async (port: number, method: string) => {
    const request = edge.open({ port }, { method })
    const [response] = (await once(request.end(method === "POST" ? "body" : undefined), "response")) as [
      IncomingMessage,
    ]
    response.resume()
    return response.statusCode
  }
  const port = await listen(speaksHttp2)
  for (const [to, method, count] of [
    [app.port, "GET", 1],
    [app.port, "POST", 2],
    [port, "POST", 3],
    [port, "GET", 3],
  ] as const) {
    expect(await ask(to, method)).toBe(200)
    await becomes("torpor_edge_connect_seconds_count", {}, count)
  }
  for (const session of sessions) session.destroy()
  speaksHttp2.close()
})

test("A MicroVM that is over is no label any more", async () => {
  const registry = new Registry()
  const metrics = createEdgeMetrics(registry)
  for (const [status, told] of [
    [101, "1xx"],
    [599, "5xx"],
    [600, "other"],
    [700, "other"],
    [999, "other"],
    [undefined, "none"],
  ] as const) {
    metrics.begin("one", "h2").end(status)
    expect(await registry.metrics()).toContain(`torpor_microvm_requests_total{microvm="one",status="${told}"}`)
  }
  const late = metrics.begin("one", "websocket")
  metrics.forget("one")
  late.carried("in", 5)
  late.end(101)
  const text = await registry.metrics()
  expect(text).not.toContain('microvm="one"')
  expect(text).toContain('torpor_edge_bytes_total{protocol="websocket",direction="in"} 5')
})
