/**
 * What an application that runs the agent's own program does for its first answer, done by the agent in the application's pages: an
 * emulator has translated it then, before anybody waits for it.
 */
import { once } from "node:events"
import { createServer } from "node:http"
import { connect, type AddressInfo } from "node:net"
import { text } from "node:stream/consumers"
import { findTwin, inPagesOf, type Twin } from "./own-code.ts"

/** As the edge asks. */
const REQUEST = [
  "GET /?rehearsal=1 HTTP/1.1",
  "host: 00000000-0000-0000-0000-000000000000.vm.localhost:7443",
  "user-agent: rehearsal/1.0",
  "accept: */*",
  "accept-encoding: gzip, deflate",
  "x-forwarded-for: 127.0.0.1",
  "x-forwarded-proto: https",
  "connection: close",
  "",
  "",
].join("\r\n")
const ANSWERS = 2

let twin: Twin | undefined

/** Before the base is taken. */
export const prepareRehearsal = async (): Promise<void> => {
  // A process may end while it is looked at; a rehearsal without it does less.
  twin = await findTwin().catch(() => undefined)
}

/** In a guest of the base whose application is frozen. */
export const rehearse = async (): Promise<void> => {
  if (twin !== undefined) await inPagesOf(twin, answerRequests)
}

const answerRequests = async (): Promise<void> => {
  let answered = 0
  const server = createServer((request, response) => {
    response.setHeader("content-type", "application/json")
    response.end(JSON.stringify({ url: request.url, answered: ++answered }))
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  for (let answer = 0; answer < ANSWERS; answer++) {
    const socket = connect(port, "127.0.0.1")
    socket.write(REQUEST)
    await text(socket)
  }
  server.close()
  await once(server, "close")
}
