/** A request inside a request, an answer behind an answer: each is first seen to arrive behind a careless proxy, and then not. */
import { once } from "node:events"
import { connect } from "node:net"
import { text } from "node:stream/consumers"
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import { eventually } from "../../fixtures/eventually.ts"
import { openRawApp } from "../raw-app.ts"
import { openTestEdge, type TestEdge } from "../test-edge.ts"
import { PLAIN, type Dialect } from "./dialect.ts"
import { openLenientApp } from "./lenient-app.ts"
import { openNaiveProxy } from "./naive-proxy.ts"

let edge: TestEdge
beforeAll(async () => void (edge = await openTestEdge()))
afterAll(() => edge?.[Symbol.asyncDispose]())
afterEach(() => eventually(() => expect(edge.vm.activity.open).toBe(0)))

const SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
const hex = (length: number) => length.toString(16)
const CHUNKS: Dialect = { ...PLAIN, prefers: "chunks" }
const LOOSE: Dialect = { ...CHUNKS, isChunked: (coding) => /chunked/i.test(coding) }
/** By its length one body, by its chunks one that ends at once. */
const BOTH = `0\r\n\r\n${SMUGGLED}`
const LENGTH = `Content-Length: ${BOTH.length}`

/** The head of a request that has no token. */
const headOf = (line: string, ...fields: string[]) => [`${line} HTTP/1.1`, "Host: x", ...fields, "\r\n"].join("\r\n")
const plainExchange = async (port: number, bytes: string) => {
  const socket = connect(port, "127.0.0.1").setEncoding("latin1")
  socket.write(bytes, "latin1")
  return socket
}
const exchange = async (bytes: string): Promise<string> => {
  const socket = await edge.raw()
  socket.write(bytes, "latin1")
  return text(socket.setEncoding("latin1"))
}
const pathsOf = (requests: readonly { line: string }[]) => requests.map(({ line }) => line.split(" ")[1])

/** A second request, as far as the proxy reads, of which the application takes the beginning for a chunk of the first. */
const decoy = headOf("POST /decoy", `Content-Length: ${7 + SMUGGLED.length}`)

describe("A request inside a request's body arrives behind a proxy that reads it otherwise, and is refused by the edge", () => {
  test.for<[what: string, proxy: Dialect, app: Dialect, fields: string[], body: string]>([
    ["the application goes by the chunks", PLAIN, CHUNKS, [LENGTH, "Transfer-Encoding: chunked"], BOTH],
    [
      "the application goes by the length",
      CHUNKS,
      PLAIN,
      ["Content-Length: 4", "Transfer-Encoding: chunked"],
      `${hex(SMUGGLED.length)}\r\n${SMUGGLED}\r\n0\r\n\r\n`,
    ],
    [
      "each takes another of two lengths",
      PLAIN,
      { ...PLAIN, lengthOf: (values) => Number(values.at(-1)) },
      [`Content-Length: ${SMUGGLED.length}`, "Content-Length: 0"],
      SMUGGLED,
    ],
    [
      "each takes another of two lengths in one line",
      PLAIN,
      { ...PLAIN, lengthOf: ([both = ""]) => Number(both.split(",")[1]) },
      [`Content-Length: ${SMUGGLED.length}, 0`],
      SMUGGLED,
    ],
    ["a coding that only sounds like chunks", CHUNKS, LOOSE, [LENGTH, "Transfer-Encoding: xchunked"], BOTH],
    ["a coding behind the chunks", CHUNKS, LOOSE, [LENGTH, "Transfer-Encoding: chunked, identity"], BOTH],
    ["a control byte before the coding", CHUNKS, LOOSE, [LENGTH, "Transfer-Encoding: \x0bchunked"], BOTH],
    ["a zero byte behind the coding", CHUNKS, LOOSE, [LENGTH, "Transfer-Encoding: chunked\0"], BOTH],
    [
      "a zero byte in the name",
      CHUNKS,
      { ...CHUNKS, nameOf: (name) => name.replace("\0", "").toLowerCase() },
      [LENGTH, "Transfer-Encoding\0: chunked"],
      BOTH,
    ],
    [
      "a blank before the colon",
      CHUNKS,
      { ...CHUNKS, nameOf: (name) => name.trim().toLowerCase() },
      [LENGTH, "Transfer-Encoding : chunked"],
      BOTH,
    ],
    [
      "a folded line",
      CHUNKS,
      { ...CHUNKS, folds: false, nameOf: (name) => name.trim().toLowerCase() },
      [LENGTH, "X: y\r\n Transfer-Encoding: chunked"],
      BOTH,
    ],
    ["a bare line feed", CHUNKS, { ...CHUNKS, lineEnd: /\r?\n/ }, [LENGTH, "X: y\nTransfer-Encoding: chunked"], BOTH],
    [
      "a bare carriage return",
      CHUNKS,
      { ...CHUNKS, lineEnd: /\r\n?/ },
      [LENGTH, "X: y\rTransfer-Encoding: chunked"],
      BOTH,
    ],
    [
      "a chunk's size in C's way of writing",
      CHUNKS,
      { ...CHUNKS, chunkSizeOf: (line) => Number.parseInt(/^[\da-f]*/i.exec(line)?.[0] ?? "", 16) },
      ["Transfer-Encoding: chunked"],
      `0x${hex(SMUGGLED.length + 2)}\r\n\r\n${SMUGGLED}\r\n0\r\n\r\n`,
    ],
    [
      "a chunk's size that overflows",
      { ...CHUNKS, chunkSizeOf: (line) => Number.parseInt(line.slice(-8), 16) },
      { ...CHUNKS, chunkSizeOf: (line) => (line.length > 16 ? 0 : Number.parseInt(line, 16)) },
      ["Transfer-Encoding: chunked"],
      `f00000000${hex(SMUGGLED.length + 2).padStart(8, "0")}\r\n\r\n${SMUGGLED}\r\n0\r\n\r\n`,
    ],
    [
      "a line feed in a chunk's extension",
      CHUNKS,
      { ...CHUNKS, lineEnd: /\r?\n/ },
      ["Transfer-Encoding: chunked"],
      `2;\nxx\r\n${hex(5 + decoy.length)}\r\n0\r\n\r\n${decoy}\r\n0\r\n\r\n${SMUGGLED}`,
    ],
  ])("%s", async ([, proxyReads, appReads, fields, body]) => {
    await using app = await openLenientApp(appReads)
    {
      await using proxy = await openNaiveProxy(app.port, { dialect: proxyReads })
      const socket = await plainExchange(proxy.port, headOf("POST /", ...fields) + body)
      await eventually(() => expect(pathsOf(app.requests)).toContain("/smuggled"))
      expect(proxy.lines.join()).not.toContain("/smuggled")
      socket.destroy()
    }
    app.requests.length = 0
    const answer = await exchange(edge.head("POST /", app.port, "Connection: close", ...fields) + body)
    expect(answer).toMatch(/^HTTP\/1.1 400 /)
    expect(answer.match(/HTTP\/1.1 /g)).toHaveLength(1)
    expect(app.requests.filter(({ line }) => line.includes("/smuggled"))).toEqual([])
  })
})

describe("What Connection names", () => {
  test("is a body's length to a proxy that takes it literally, and not to the edge", async () => {
    const fields = ["Connection: content-length, host, close", `Content-Length: ${SMUGGLED.length}`]
    await using app = await openLenientApp(PLAIN)
    {
      await using proxy = await openNaiveProxy(app.port, { dialect: PLAIN, dropsNamed: true })
      const socket = await plainExchange(proxy.port, headOf("POST /", ...fields) + SMUGGLED)
      await eventually(() => expect(pathsOf(app.requests)).toEqual(["/", "/smuggled"]))
      socket.destroy()
    }
    app.requests.length = 0
    expect(await exchange(edge.head("POST /", app.port, ...fields) + SMUGGLED)).toMatch(/^HTTP\/1.1 200 /)
    expect(app.requests).toMatchObject([{ body: SMUGGLED, bytes: expect.stringMatching(/^host: /im) }])
  })

  test("is neither the token, which is asked for, nor what the edge says of who asks", async () => {
    const named = ["x-forwarded-for", "x-forwarded-host", "x-amzn-requestid"]
    await using app = await openLenientApp(PLAIN)
    {
      await using proxy = await openNaiveProxy(app.port, { dialect: PLAIN, dropsNamed: true })
      const told = named.map((name) => `${name}: 1`)
      const socket = await plainExchange(proxy.port, headOf("GET /", `Connection: ${named.join(", ")}`, ...told))
      await eventually(() => expect(app.requests).toHaveLength(1))
      expect(app.requests[0]?.bytes).not.toMatch(/^x-/im)
      socket.destroy()
    }
    app.requests.length = 0
    const connection = `Connection: close, x-aws-proxy-auth, ${named.join(", ")}`
    expect(await exchange(edge.head("GET /", app.port, connection))).toMatch(/^HTTP\/1.1 200 /)
    for (const name of named) expect(app.requests[0]?.bytes).toMatch(new RegExp(`^${name}: .`, "im"))
    expect(app.requests[0]?.bytes).not.toContain(edge.vm.token)
  })
})

describe("An upgrade that the application did not agree to is a tunnel behind a careless proxy, and none behind the edge", () => {
  test.for([
    ["another protocol", ["Connection: Upgrade", "Upgrade: h2c"], 200],
    [
      "a WebSocket of a version that isn't there",
      ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 9"],
      426,
    ],
  ] as const)("%s", async ([, fields, status]) => {
    await using app = await openLenientApp(PLAIN, ({ bytes }) =>
      /^upgrade: websocket/im.test(bytes)
        ? "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"
        : "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    )
    {
      await using proxy = await openNaiveProxy(app.port, { dialect: PLAIN, tunnels: true })
      const socket = await plainExchange(proxy.port, headOf("GET /", ...fields) + SMUGGLED)
      await eventually(() => expect(pathsOf(app.requests)).toEqual(["/", "/smuggled"]))
      expect(proxy.lines).toHaveLength(1)
      socket.destroy()
    }
    app.requests.length = 0
    const socket = await edge.raw()
    socket
      .setEncoding("latin1")
      .write(edge.head("GET /", app.port, ...fields) + SMUGGLED.replace("x\r\n", "x\r\nConnection: close\r\n"))
    const answers = await text(socket)
    // It is the connection's last: nothing behind it is read.
    expect(answers).toMatch(new RegExp(`^HTTP/1.1 ${status} (?:(?!HTTP)[^])*$`))
    expect(pathsOf(app.requests)).toEqual(["/"])
  })

  test("A WebSocket's request has no body: what one application reads as it is another's first frames", async () => {
    await using app = await openLenientApp({ ...PLAIN, lengthOf: () => 0 })
    const fields = ["Connection: Upgrade", "Upgrade: websocket", `Content-Length: ${SMUGGLED.length}`]
    {
      await using proxy = await openNaiveProxy(app.port, { dialect: PLAIN, tunnels: true })
      const socket = await plainExchange(proxy.port, headOf("GET /", ...fields) + SMUGGLED)
      await eventually(() => expect(pathsOf(app.requests)).toEqual(["/", "/smuggled"]))
      expect(proxy.lines).toHaveLength(1)
      socket.destroy()
    }
    app.requests.length = 0
    expect(await exchange(edge.head("GET /", app.port, ...fields) + SMUGGLED)).toMatch(/^HTTP\/1.1 400 /)
    expect(app.requests).toEqual([])
  })
})

describe("An answer too many is the next client's behind a careless proxy, and nobody's behind the edge", () => {
  const answerOf = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`

  test.for<[when: string, more: string, delayMs: number, closes: boolean]>([
    ["at once", answerOf("poison"), 0, true],
    ["a moment later", answerOf("poison"), 10, true],
    // Node's parser has swallowed it, and nobody will ever see it.
    ["half of it", answerOf("poison").slice(0, 20), 0, false],
    ["half of it, a moment later", answerOf("poison").slice(0, 20), 10, true],
    ["garbage", "garbage\r\n\r\n", 0, true],
  ])("%s", async ([, more, delayMs, closes]) => {
    const openApp = () =>
      openRawApp((socket, received) => {
        if (!received.endsWith("\r\n\r\n")) return
        const path = received.match(/(?<=GET )\/\S+/g)?.at(-1) ?? ""
        const late = path === "/first" && delayMs > 0
        socket.write(answerOf(path) + (path === "/first" && !late ? more : ""))
        if (late) setTimeout(() => socket.writable && socket.write(more), delayMs)
      })
    {
      await using app = await openApp()
      await using proxy = await openNaiveProxy(app.port, { dialect: PLAIN })
      const ask = async (path: string) => {
        const socket = await plainExchange(proxy.port, headOf(`GET ${path}`))
        const [answer] = (await once(socket, "data")) as [string]
        socket.destroy()
        return answer
      }
      expect(await ask("/first")).toContain("/first")
      if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, 2 * delayMs))
      expect(await ask("/second")).not.toBe(answerOf("/second"))
    }
    await using app = await openApp()
    for (let round = 0; round < 3; round++) {
      expect(await edge.get({ ...app, path: "/first" })).toMatchObject({ status: 200, body: "/first" })
      if (closes) await eventually(() => expect(app.connections.size).toBe(0))
      expect(await edge.get({ ...app, path: "/second" })).toMatchObject({ status: 200, body: "/second" })
    }
  })

  test("Half an answer's worth of one client's request is not another's", async () => {
    await using app = await openLenientApp(PLAIN)
    const [half, whole] = ["GET /poison HTTP/1.1\r\n", headOf("GET /whole")]
    const length = `Content-Length: ${half.length + whole.length}`
    {
      // What a proxy writes that passes on what it gets as it comes, over the one connection that it keeps.
      const shared = await plainExchange(app.port, headOf("POST /half", length) + half + whole)
      await eventually(() => expect(app.requests).toMatchObject([{ line: "POST /half HTTP/1.1", body: half + whole }]))
      shared.destroy()
    }
    app.requests.length = 0
    const socket = await edge.raw()
    socket.write(edge.head("POST /half", app.port, length) + half)
    await eventually(() => expect(app.received[1]).toContain("/poison"))
    socket.reset()
    expect(await edge.get({ ...app, path: "/whole" })).toMatchObject({ status: 200, body: "GET /whole HTTP/1.1" })
    expect(pathsOf(app.requests)).toEqual(["/whole"])
  })
})
