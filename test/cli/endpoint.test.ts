import { once } from "node:events"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createServer, type TLSSocket } from "node:tls"
import { expect, test } from "vitest"
import { ensureCertificates } from "../../proxy/certificates.ts"
import { createEndpoint } from "../../src/cli/endpoint.ts"

/** A server that answers as many requests of each connection as `answered` says, and closes it at the next without a word. */
const openServer = async (answered: number) => {
  await using opening = new AsyncDisposableStack()
  const directory = await mkdtemp(join(tmpdir(), "endpoint-"))
  opening.defer(() => rm(directory, { recursive: true }))
  const { certificate, key, caFile = "" } = await ensureCertificates(directory, "localhost")
  const asked: number[] = []
  const server = createServer({ cert: certificate, key }, (socket: TLSSocket) => {
    const connection = asked.push(0) - 1
    socket
      .on("error", () => {})
      .on("data", () => {
        if (++asked[connection]! <= answered) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        else socket.destroy()
      })
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  opening.defer(() => void server.close())
  const name = `a.vm.localhost:${(server.address() as AddressInfo).port}`
  const endpoint = createEndpoint(name, undefined, await readFile(caFile, "utf8"))
  opening.defer(() => endpoint.close())
  const opened = opening.move()
  return { asked, endpoint, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

test("A connection at rest that was closed in the moment of its next request is followed by another", async () => {
  await using server = await openServer(1)
  for (const _ of [1, 2, 3]) expect(await server.endpoint.get("/")).toMatchObject({ status: 200, body: "hi" })
  expect(server.asked).toEqual([2, 2, 1])
})

test("A new connection that is closed without an answer is a failure, and is not asked again", async () => {
  await using server = await openServer(0)
  await expect(server.endpoint.get("/")).rejects.toThrow("socket hang up")
  expect(server.asked).toEqual([1])
})
