/** Requests of HTTP/2 that would be two in HTTP/1.1: each is first seen to be two behind a proxy that only rewrites it. */
import { connect } from "node:net"
import { afterAll, afterEach, beforeAll, expect, test } from "vitest"
import { eventually } from "../../fixtures/eventually.ts"
import { openTestEdge, type TestEdge } from "../test-edge.ts"
import { PLAIN } from "./dialect.ts"
import {
  block,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  openHttp2Connection,
  requestFields,
  type Field,
} from "./frames.ts"
import { openLenientApp } from "./lenient-app.ts"

let edge: TestEdge
beforeAll(async () => void (edge = await openTestEdge()))
afterAll(() => edge?.[Symbol.asyncDispose]())
afterEach(() => eventually(() => expect(edge.vm.activity.open).toBe(0)))

const SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
const CHUNKS = { ...PLAIN, prefers: "chunks" } as const

/** What a careless proxy makes of HTTP/2: the same words in the other order. */
const rewrite = (fields: readonly Field[], body: string): string => {
  const of = (wanted: string) => fields.find(([name]) => name === wanted)?.[1] ?? ""
  const lines = fields.filter(([name]) => !name.startsWith(":")).map(([name, value]) => `${name}: ${value}`)
  return [`${of(":method")} ${of(":path")} HTTP/1.1`, `host: ${of(":authority")}`, ...lines, `\r\n${body}`].join("\r\n")
}

test.for<[what: string, fields: Field[], body: string]>([
  ["a line's end in a value", [["x", `y\r\n\r\n${SMUGGLED}`]], ""],
  ["a line feed in a value", [["x", `y\n\n${SMUGGLED}`]], ""],
  ["a line's end in a name", [[`x: y\r\n\r\n${SMUGGLED}x`, "y"]], ""],
  ["a line's end in the path", [[":path", `/ HTTP/1.1\r\nHost: x\r\n\r\n${SMUGGLED}GET /`]], ""],
  ["blanks in the method", [[":method", `GET / HTTP/1.1\r\nHost: x\r\n\r\n${SMUGGLED}GET`]], ""],
  ["a line's end in the authority", [[":authority", `x\r\n\r\n${SMUGGLED}`]], ""],
  ["a length that is less than the body", [["content-length", "0"]], SMUGGLED],
  ["chunks, which HTTP/2 doesn't have", [["transfer-encoding", "chunked"]], `0\r\n\r\n${SMUGGLED}`],
])("%s is refused", async ([, fields, body]) => {
  await using app = await openLenientApp({ ...CHUNKS, lineEnd: /\r?\n/ })
  const naive = connect(app.port, "127.0.0.1")
  naive.write(rewrite(requestFields(edge, app.port, fields), body), "latin1")
  await eventually(() => expect(app.requests.map(({ line }) => line)).toContain("GET /smuggled HTTP/1.1"))
  naive.destroy()
  app.requests.length = 0

  const socket = await openHttp2Connection(edge)
  const headers = block(requestFields(edge, app.port, fields))
  socket.write(frame(HEADERS, END_HEADERS | (body === "" ? END_STREAM : 0), 1, headers))
  if (body !== "") socket.write(frame(DATA, END_STREAM, 1, body))
  await eventually(() => expect(socket.frames.some(({ type, stream }) => stream === 1 || type === 7)).toBe(true))
  socket.destroy()
  expect(app.requests.filter(({ line }) => line.includes("smuggled"))).toEqual([])
})

test.for<[what: string, fields: Field[], isOver: boolean]>([
  ["a length without a body", [["content-length", "30"]], true],
  ["a body that ends before its length", [["content-length", "30"]], false],
  ["a field of the connection", [["connection", "keep-alive"]], true],
  ["an upgrade", [["upgrade", "websocket"]], true],
  ["a name in upper case", [["X-Upper", "1"]], true],
  [
    "two paths",
    [
      [":path", "/a"],
      [":path", "/b"],
    ],
    true,
  ],
  ["another host", [["host", "other.vm.localhost"]], true],
  ["a tunnel in small letters", [[":method", "connect"]], true],
  ["a path that is none", [[":path", "http://other/"]], true],
])("%s reaches no application whole", async ([, fields, isOver]) => {
  await using app = await openLenientApp(PLAIN)
  const socket = await openHttp2Connection(edge)
  socket.write(frame(HEADERS, END_HEADERS | (isOver ? END_STREAM : 0), 1, block(requestFields(edge, app.port, fields))))
  if (!isOver) socket.write(frame(DATA, END_STREAM, 1, "short"))
  await eventually(() => expect(socket.frames.some(({ type, stream }) => stream === 1 || type === 7)).toBe(true))
  // The next request on whatever connection is left to the application is its own.
  expect(await edge.get({ ...app, path: "/next" })).toMatchObject({ status: 200, body: "GET /next HTTP/1.1" })
  expect(app.requests.map(({ line }) => line)).toEqual(["GET /next HTTP/1.1"])
  socket.destroy()
})
