/** The way of a WebSocket into the guest: nothing that the client sends goes in before the application has agreed to the upgrade. */
import { request as sendRequest, type IncomingMessage, type ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { EdgeError } from "./errors.ts"
import { prepareAnswer } from "./headers.ts"
import { limitConnect, type Pool } from "./pools.ts"
import { relayAnswer } from "./relay.ts"
import type { Place } from "./upstream.ts"

export interface UpgradePlace extends Place {
  /** What the client is told when the application chooses no subprotocol. */
  readonly fallbackProtocol: string | undefined
}

/** The client's side of an upgrade. */
export interface Upgrading {
  readonly request: IncomingMessage
  readonly socket: Socket
  /** What the client sent already behind its request. */
  readonly head: Buffer
  /** For an application that answers instead of agreeing. */
  readonly toResponse: () => ServerResponse
}

/** Resolves when the WebSocket, or the answer instead of it, is over; rejects with an {@link EdgeError} while nothing was answered. */
export const sendUpgrade = (
  { request, socket, head, toResponse }: Upgrading,
  at: UpgradePlace,
  pool: Pool,
): Promise<void> =>
  new Promise<void>((resolve, reject) => {
    const outgoing = sendRequest({
      host: at.address,
      port: at.port,
      method: "GET",
      path: request.url,
      headers: { ...request.headers, connection: "Upgrade", upgrade: "websocket" },
      agent: pool.fresh,
    })
    limitConnect(outgoing)
    socket.once("close", () => {
      outgoing.destroy()
      resolve()
    })
    outgoing
      .once("upgrade", (answer, guest: Socket, guestHead) => {
        socket.write(toHead(answer, at))
        if (guestHead.length > 0) guest.unshift(guestHead)
        if (head.length > 0) socket.unshift(head)
        join(socket, guest, pool)
      })
      .once("response", (answer) => {
        try {
          relayAnswer(answer, toResponse(), at.requestId)
        } catch (error) {
          outgoing.destroy(error as Error)
        }
      })
      .on("error", (error) => reject(new EdgeError("APP_CONNECT_FAILED", { cause: error })))
      .end()
  })

const toHead = (answer: IncomingMessage, { requestId, fallbackProtocol }: UpgradePlace): string => {
  const { headers } = answer
  prepareAnswer(headers, requestId)
  if (fallbackProtocol !== undefined) headers["sec-websocket-protocol"] ??= fallbackProtocol
  const lines = Object.entries({ ...headers, connection: "Upgrade", upgrade: "websocket" }).flatMap(([name, value]) =>
    [value].flat().map((one) => `${name}: ${one}`),
  )
  return ["HTTP/1.1 101 Switching Protocols", ...lines, "\r\n"].join("\r\n")
}

/** Two ends that close together: what one has sent still reaches the other, unless the other is gone. */
const join = (socket: Socket, guest: Socket, { upgraded }: Pool): void => {
  for (const end of [socket, guest]) end.setTimeout(0).setNoDelay(true).setKeepAlive(true)
  upgraded.add(guest)
  guest
    .on("error", () => {})
    .once("close", () => {
      upgraded.delete(guest)
      socket.destroySoon()
    })
  socket.once("close", () => (guest.writableEnded ? guest.destroySoon() : guest.destroy()))
  socket.pipe(guest).pipe(socket)
}
