import { ServerResponse, type IncomingMessage } from "node:http"
import type { Socket } from "node:net"
import type { TLSSocket } from "node:tls"
import { tlsOf, type Exchange } from "../exchange.ts"
import { createHttp1Exchange, toRequestHead } from "./http1-exchange.ts"

/**
 * The exchange of an upgrade: it is answered only when it fails, and then that is the connection's last. `isAgreed` tells whether the
 * application has agreed to it.
 */
export const createUpgradeExchange = (
  request: IncomingMessage,
  socket: Socket,
  requestId: string,
  isAgreed: () => boolean,
): Exchange => {
  let answered: Exchange | undefined
  const toExchange = () => (answered ??= createHttp1Exchange(request, answerOn(socket, request), requestId, false))
  return {
    requestId,
    head: toRequestHead(request),
    fields: request.rawHeaders,
    tls: () => tlsOf(socket as TLSSocket),
    remoteAddress: socket.remoteAddress,
    remotePort: socket.remotePort,
    body: request,
    hasBody: false,
    trailers: () => ({}),
    isOver() {
      return socket.destroyed
    },
    onOver: (listener) => void socket.once("close", listener),
    protocol: "websocket",
    status() {
      return isAgreed() ? 101 : answered?.status()
    },
    isAnsweredWhole() {
      return answered?.isAnsweredWhole() ?? false
    },
    askForBody() {},
    inform() {},
    answer: (answer) => toExchange().answer(answer),
    answerInstead: (answer) => toExchange().answerInstead(answer),
    breakOff: () => void socket.destroy(),
    discardBody() {},
  }
}

const answerOn = (socket: Socket, request: IncomingMessage): ServerResponse => {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  return response.once("finish", () => {
    response.detachSocket(socket)
    socket.destroySoon()
  })
}
