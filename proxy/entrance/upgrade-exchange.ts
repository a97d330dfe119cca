import { ServerResponse, type IncomingMessage } from "node:http"
import type { Socket } from "node:net"
import type { TLSSocket } from "node:tls"
import { tlsOf, type Exchange } from "../exchange.ts"
import { createHttp1Exchange, toRequestHead } from "./http1-exchange.ts"

/** It is answered only when it fails, and then that is the connection's last. */
export interface UpgradeExchange extends Exchange {
  /**
   * The application has agreed. Who waits for the exchange's end isn't told any more: what is kept of a request would be kept as long as
   * its WebSocket.
   */
  agree(): void
}

export const createUpgradeExchange = (request: IncomingMessage, socket: Socket, requestId: string): UpgradeExchange => {
  let isAgreed = false
  const listeners: (() => void)[] = []
  const onClose = () => {
    for (const listener of listeners) listener()
  }
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
    onOver(listener) {
      if (listeners.length === 0) socket.once("close", onClose)
      listeners.push(listener)
    },
    protocol: "websocket",
    status() {
      return isAgreed ? 101 : answered?.status()
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
    agree() {
      isAgreed = true
      socket.off("close", onClose)
    },
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
