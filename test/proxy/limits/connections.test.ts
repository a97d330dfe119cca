import { once } from "node:events"
import { connect, createServer, type AddressInfo, type Socket } from "node:net"
import { afterEach, beforeEach, expect, test } from "vitest"
import { eventually } from "../../fixtures/eventually.ts"
import { createConnections, type Connections } from "../../../proxy/limits/connections.ts"

/** Real connections to a server that counts them, with the server's end of each. */
const opened: Socket[] = []
let server: ReturnType<typeof createServer>
let connections: Connections
beforeEach(async () => {
  connections = createConnections({ maxConnections: 3, maxConnectionsPerVm: 2, maxConnectionsPerToken: 1 })
  server = createServer((socket) => connections.accept(socket.on("error", () => {})))
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
})
afterEach(async () => {
  for (const socket of opened.splice(0)) socket.destroy()
  server.close()
  await once(server, "close")
})

const open = async () => {
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1").on("error", () => {})
  opened.push(client)
  const [socket] = (await once(server, "connection")) as [Socket]
  return { client, socket }
}
const isOpen = ({ socket }: { socket: Socket }) => !socket.destroyed

test("One too many takes the place of the stranger who has waited longest", async () => {
  const [first, second, third, fourth] = [await open(), await open(), await open(), await open()]
  expect([first, second, third, fourth].map(isOpen)).toEqual([false, true, true, true])
  await eventually(() => expect(connections.open).toBe(3))
})

test("Where there is no stranger the longest idle one goes, and one in use never", async () => {
  const [used, idle, later] = [await open(), await open(), await open()]
  connections.use(used.socket, "vm", "a")
  const [endIdle, endLater] = [connections.use(idle.socket, "vm", "b"), connections.use(later.socket, "other", "c")]
  endIdle()
  endLater()
  const newest = await open()
  expect([used, idle, later, newest].map(isOpen)).toEqual([true, false, true, true])
  connections.use(later.socket, "other", "c")
  connections.use(newest.socket, "other", "d")
  const refused = await open()
  expect([used, later, newest, refused].map(isOpen)).toEqual([true, true, true, false])
})

test("A VM and a token have so many connections and no more, until one is closed", async () => {
  const [first, second, third] = [await open(), await open(), await open()]
  connections.use(first.socket, "vm", "a")()
  expect(() => connections.use(second.socket, "vm", "a")).toThrow(
    expect.objectContaining({ code: "TOO_MANY_CONNECTIONS_OF_TOKEN" }),
  )
  // What was refused has not counted for its VM.
  connections.use(second.socket, "vm", "b")()
  // Once more on one that is counted.
  connections.use(second.socket, "vm", "b")()
  expect(() => connections.use(third.socket, "vm", "c")).toThrow(
    expect.objectContaining({ code: "TOO_MANY_CONNECTIONS" }),
  )
  connections.use(third.socket, "other", "c")()
  first.client.destroy()
  await eventually(() => expect(connections.open).toBe(2))
  connections.use(third.socket, "vm", "a")()
})

test("The use of a connection that is closed counts nowhere", async () => {
  const gone = await open()
  const end = connections.use(gone.socket, "vm", "a")
  gone.client.destroy()
  await eventually(() => expect(connections.open).toBe(0))
  end()
  connections.use(gone.socket, "vm", "a")()
  const [next, another, third, fourth] = [await open(), await open(), await open(), await open()]
  connections.use(another.socket, "vm", "a")
  expect([next, another, third, fourth].map(isOpen)).toEqual([false, true, true, true])
})
