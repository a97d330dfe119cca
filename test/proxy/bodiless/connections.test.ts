import { once } from "node:events"
import { connect } from "node:net"
import { describe, expect, test } from "vitest"
import type { AnswerListener } from "../../../proxy/guest/bodiless/connection.ts"
import { createConnections } from "../../../proxy/guest/bodiless/connections.ts"
import { eventually } from "../../fixtures/eventually.ts"
import { openRawApp } from "../raw-app.ts"

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
const REQUEST = "GET / HTTP/1.1\r\nhost: h\r\n\r\n"

/** What was said of one request. */
const listen = () => {
  const said: string[] = []
  let all = ""
  const listener: AnswerListener = {
    onInformation: (status) => void said.push(String(status)),
    onHead(_, whole) {
      all = whole?.toString() ?? ""
      said.push("head")
    },
    onData: (bytes) => void (all += bytes.toString()),
    onEnd: () => void said.push(all),
    onFailure: ({ message }) => void said.push(message),
    onBytes: (written, read) => void said.push(`${written} ${read}`),
  }
  return { said, listener }
}

describe("Connections for requests without a body", () => {
  const place = (port: number) => ({
    address: "127.0.0.1",
    port,
    connectTimeoutMs: 5000,
    isTls: false,
    isForUpgrade: false,
    onConnect: () => {},
  })

  test("are used again, the one used last first; what is given up late is nobody else's", async () => {
    await using app = await openRawApp((socket, received) => {
      if (!received.includes("/wait")) socket.write(OK)
    })
    const connections = createConnections()
    const [first, second, third] = [listen(), listen(), listen()]
    const connection = connections.take(place(app.port), Infinity)
    const sent = connection.send(REQUEST, "GET", first.listener)
    await eventually(() => expect(first.said).toEqual(["head", `${REQUEST.length} ${OK.length}`, "ok"]))
    expect(connections.take(place(app.port), Infinity)).toBe(connection)
    expect(connections.take(place(app.port), Infinity), "it is taken").not.toBe(connection)
    connection.send(REQUEST.replace("/", "/wait"), "GET", second.listener)
    // Its client left before it had taken the whole answer.
    sent.cut()
    sent.pause()
    await eventually(() => expect(app.received.join("")).toContain("/wait"))
    for (const socket of app.connections) socket.write(OK)
    await eventually(() => expect(second.said).toContain("ok"))
    expect(connection.isReused).toBe(true)

    const fresh = connections.take(place(app.port), 0)
    expect(fresh).not.toBe(connection)
    fresh.send(REQUEST.replace("/", "/wait"), "GET", third.listener)
    await eventually(() => expect(app.received).toHaveLength(2))
    connections.destroy()
    await eventually(() => expect(app.connections.size).toBe(0))
    expect(third.said).toEqual([`${REQUEST.length + 4} 0`, "The connection was closed"])
  })

  test("are closed, and not taken again, when the application closes or speaks unasked", async () => {
    await using app = await openRawApp((socket) => socket.write(OK))
    const connections = createConnections()
    for (const end of ["end", "speak"] as const) {
      const { said, listener } = listen()
      const connection = connections.take(place(app.port), Infinity)
      connection.send(REQUEST, "GET", listener)
      await eventually(() => expect(said).toContain("ok"))
      for (const socket of app.connections) {
        if (end === "end") socket.end()
        else socket.write(OK)
      }
      await eventually(() => expect([connection.isOver, app.connections.size]).toEqual([true, 0]))
      const next = connections.take(place(app.port), Infinity)
      expect(next).not.toBe(connection)
      next.destroy()
    }
    connections.destroy()
  })

  test("that the application closes make room for others to be kept", async () => {
    await using app = await openRawApp((socket) => socket.write(OK))
    const connections = createConnections()
    const ask = async (count: number) => {
      const asked = Array.from({ length: count }, () => ({
        ...listen(),
        connection: connections.take(place(app.port), Infinity),
      }))
      for (const { connection, listener } of asked) connection.send(REQUEST, "GET", listener)
      await eventually(() => expect(asked.every(({ said }) => said.includes("ok"))).toBe(true))
    }
    // As many as are kept, and one that isn't.
    await ask(257)
    await eventually(() => expect(app.connections.size).toBe(256))
    for (const socket of app.connections) socket.end()
    await eventually(() => expect(app.connections.size).toBe(0))
    await ask(1)
    await ask(1)
    expect(app.received).toHaveLength(258)
    connections.destroy()
  })

  test("that have rested are not taken for a request that cannot be asked again", async () => {
    await using app = await openRawApp((socket) => socket.write(OK))
    const connections = createConnections()
    const { said, listener } = listen()
    const connection = connections.take(place(app.port), Infinity)
    connection.send(REQUEST, "GET", listener)
    await eventually(() => expect(said).toContain("ok"))
    expect(connections.take(place(app.port), 0)).not.toBe(connection)
    expect(connections.take(place(app.port), Infinity)).toBe(connection)
    connections.destroy()
  })

  test("are not kept for longer than the application says", async () => {
    await using app = await openRawApp((socket) => socket.write(OK.replace("\r\n", "\r\nKeep-Alive: timeout=1\r\n")))
    const connections = createConnections()
    const { said, listener } = listen()
    connections.take(place(app.port), Infinity).send(REQUEST, "GET", listener)
    await eventually(() => expect(said).toContain("ok"))
    await eventually(() => expect(app.connections.size).toBe(0))
  })

  test("that cannot be made fail with the reason, and have carried nothing", async () => {
    const app = await openRawApp(() => {})
    await app[Symbol.asyncDispose]()
    const { said, listener } = listen()
    createConnections().take(place(app.port), Infinity).send(REQUEST, "GET", listener)
    await eventually(() => expect(said).toHaveLength(2))
    expect(said).toEqual(["0 0", expect.stringContaining("ECONNREFUSED")])
    await expect(once(connect(app.port, "127.0.0.1"), "connect")).rejects.toThrow("ECONNREFUSED")
  })
})
