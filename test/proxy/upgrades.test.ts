import { once } from "node:events"
import { createServer } from "node:http"
import { text } from "node:stream/consumers"
import { setImmediate } from "node:timers/promises"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { WebSocket, WebSocketServer } from "ws"
import { eventually } from "../fixtures/eventually.ts"
import { openRawApp } from "./raw-app.ts"
import { listen, openTestEdge, type TestEdge } from "./test-edge.ts"

let edge: TestEdge
beforeEach(async () => void (edge = await openTestEdge()))
afterEach(() => edge[Symbol.asyncDispose]())

const AGREED =
  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-aws-proxy-error: FORGED\r\n\r\n"
const upgradeTo = (port: number, ...fields: string[]) =>
  edge.head("GET /socket", port, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: AAAA", ...fields)
const exchange = async (bytes: string): Promise<string> => {
  const socket = await edge.raw()
  socket.write(bytes)
  return text(socket)
}
const webSocket = (port: number) =>
  new WebSocket(`wss://${edge.vm.name}:${edge.edge.port}/`, {
    ca: edge.ca,
    headers: { "x-aws-proxy-auth": edge.vm.token, "x-aws-proxy-port": String(port) },
  })

describe("An upgrade", () => {
  test("to a port nobody listens on is answered as a request would be", async () => {
    expect(await exchange(upgradeTo(1))).toMatch(
      /^HTTP\/1.1 502 Bad Gateway\r\n(?=[^]*x-aws-proxy-error: APP_CONNECT_FAILED)(?=[^]*x-amzn-requestid: )[^]*\r\n\r\n$/i,
    )
  })

  test.for([
    ["in one piece", "HTTP/1.1 401 Who\r\nContent-Length: 2\r\n\r\nno"],
    ["in chunks", "HTTP/1.1 401 Who\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"],
    ["until it closes", "HTTP/1.1 401 Who\r\n\r\nno"],
  ] as const)("that is answered instead, %s, has that answer passed on whole", async ([, answer]) => {
    await using app = await openRawApp((socket) => void (socket.writable && socket.end(answer)))
    const got = await exchange(upgradeTo(app.port))
    expect(got).toMatch(/^HTTP\/1.1 401 Who\r\n(?=[^]*x-amzn-requestid: )(?=[^]*connection: close)/i)
    expect(got.replaceAll(/\r\n|[20]/g, "")).toMatch(/no$/)
    await eventually(() => expect(app.connections.size).toBe(0))
  })

  test.for([
    ["closes", ""],
    ["answers nonsense", "nonsense\r\n\r\n"],
    ["has a status of its own", "HTTP/1.1 099 Low\r\n\r\n"],
  ] as const)("whose application %s is a 502", async ([, answer]) => {
    await using app = await openRawApp((socket) => socket.end(answer))
    expect(await exchange(upgradeTo(app.port))).toMatch(/^HTTP\/1.1 502 /)
  })

  test("sends nothing ahead of the application's consent, and nothing after its refusal", async () => {
    const ahead = upgradeTo(1, "X-Second: 1")
    await using agrees = await openRawApp((socket, received) => void (received.includes("X-Second") && socket.end()))
    const answer = exchange(upgradeTo(agrees.port) + ahead)
    await eventually(() => expect(agrees.received.join("")).toMatch(/\r\n\r\n$/))
    // Time for more to arrive: another whole exchange.
    await using passes = await openRawApp((socket) => socket.end("HTTP/1.1 204 None\r\n\r\n"))
    await edge.get(passes)
    expect(agrees.received.join("")).not.toContain("X-Second")
    for (const socket of agrees.connections) socket.write(AGREED)
    expect(await answer).toMatch(/^HTTP\/1.1 101 /)
    expect(agrees.received.join("")).toContain("X-Second")

    await using refuses = await openRawApp((socket) => void (socket.writable && socket.end("HTTP/1.1 403 No\r\n\r\n")))
    const answers = await exchange(upgradeTo(refuses.port) + ahead)
    expect(answers.match(/HTTP\/1.1 /g)).toHaveLength(1)
    expect(refuses.received.join("")).not.toContain("X-Second")
  })

  test("behind a request that isn't answered yet ends the connection: their answers would mix", async () => {
    await using app = await openRawApp(
      (socket, received) => void (received.includes("/socket") && socket.write(AGREED)),
    )
    expect(await exchange(edge.head("GET /slow", app.port) + upgradeTo(app.port))).toBe("")
    expect(app.received.join("")).not.toContain("/socket")
    await eventually(() => expect(app.connections.size).toBe(0))
  })

  test("answers without the application's forged words, with the id of the request", async () => {
    await using app = await openRawApp((socket) => socket.end(AGREED))
    const answer = await exchange(upgradeTo(app.port))
    const id = /x-amzn-requestid: (\S+)/i.exec(answer)?.[1]
    expect(app.received[0]).toContain(`x-amzn-requestid: ${id}`)
    expect(answer).not.toMatch(/x-aws-proxy/i)
  })

  test("passes on what the application says in its headers byte for byte", async () => {
    const bytes = Buffer.concat([Buffer.from("Grüße"), Buffer.from([0xe9, 0xff])])
    const agreed = AGREED.replace("\r\n\r\n", `\r\nX-Words: ${bytes.toString("latin1")}\r\n\r\n`)
    await using app = await openRawApp((socket) => socket.end(agreed, "latin1"))
    const socket = (await edge.raw()).setEncoding("latin1")
    socket.write(upgradeTo(app.port))
    const words = /x-words: (.*)\r\n/i.exec(await text(socket))?.[1]
    expect(Buffer.from(words ?? "", "latin1")).toEqual(bytes)
  })

  test.for(["h2c", "tls/1.2", "websocket, h2c"])("to %s is declined by answering the request", async (protocol) => {
    await using app = await openRawApp((socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    const socket = await edge.raw()
    socket.write(edge.head("GET /", app.port, "Connection: Upgrade, close", `Upgrade: ${protocol}`))
    expect(await text(socket)).toMatch(/^HTTP\/1.1 200 [^]*ok$/)
    expect(app.received[0]).not.toMatch(/^upgrade:/im)
  })
})

describe("A WebSocket", () => {
  test("carries much both ways at once, and both close codes", async () => {
    const server = createServer()
    const port = await listen(server)
    const sockets = new WebSocketServer({ server })
    const closed = Promise.withResolvers<number>()
    sockets.on("connection", (socket) =>
      socket
        .on("message", (data, isBinary) => (isBinary ? socket.send(data) : socket.close(4001, "enough")))
        .on("close", (code) => closed.resolve(code)),
    )
    const socket = webSocket(port)
    await once(socket, "open")
    const sent = Array.from({ length: 64 }, (_, index) => Buffer.alloc(256 * 1024, index))
    const got: Buffer[] = []
    const all = new Promise<void>((resolve) =>
      socket.on("message", (data: Buffer) => {
        if (got.push(data) === sent.length) resolve()
      }),
    )
    for (const message of sent) socket.send(message)
    await all
    expect(Buffer.concat(got).equals(Buffer.concat(sent))).toBe(true)
    socket.send("stop")
    expect(await once(socket, "close")).toMatchObject([4001, Buffer.from("enough")])
    expect(await closed.promise).toBe(4001)
    server.close()
  })

  test("gets what the application said last, however slowly it reads", async () => {
    const last = 8 * 1024 * 1024 + 100
    await using app = await openRawApp((socket) => {
      socket.write(AGREED)
      socket.end(Buffer.alloc(last))
    })
    const socket = await edge.raw()
    socket.write(upgradeTo(app.port))
    let length = 0
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      length += chunk.length
      // The application has long closed before this end is reached.
      for (let turn = 0; turn < 30; turn++) await setImmediate()
    }
    expect(length).toBeGreaterThan(last)
  })

  test("adds no listener that another one would feel", async () => {
    const warned = vi.fn<(warning: Error) => void>()
    process.on("warning", warned)
    await using app = await openRawApp(() => {})
    const many = await Promise.all(Array.from({ length: 30 }, () => edge.raw()))
    for (const socket of many) socket.write(upgradeTo(app.port))
    await eventually(() => expect(app.received.filter((text_) => text_ !== "")).toHaveLength(30))
    for (const socket of many) socket.destroy()
    await eventually(() => expect([app.connections.size, edge.vm.activity.open]).toEqual([0, 0]))
    process.off("warning", warned)
    expect(warned.mock.calls.filter(([{ name }]) => name === "MaxListenersExceededWarning")).toEqual([])
  })
})
