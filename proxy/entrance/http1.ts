/** HTTP/1.1's way in: requests, upgrades to WebSockets, and the order that they have on one connection. */
import { randomUUID } from "node:crypto"
import type { IncomingMessage, Server, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { claimOf } from "../admission/claim.ts"
import { claimOfUpgrade } from "../admission/subprotocols.ts"
import { checkHttp1, checkUpgrade } from "../admission/well-formed.ts"
import { sendRequest } from "../guest/send.ts"
import { sendUpgrade } from "../guest/upgrade.ts"
import type { Serve } from "../passes.ts"
import { createHttp1Exchange } from "./http1-exchange.ts"
import { createUpgradeExchange } from "./upgrade-exchange.ts"

export interface Http1Entrance {
  /** From now on every answer is the last of its connection; WebSockets get a close frame that says the server goes away. */
  retire(): void
  /** Connections with an answer that is not over, and those that became WebSockets. */
  inUse(): readonly Socket[]
  /** Ends those connections at once that no server knows of: they became WebSockets. */
  destroy(): void
}

/** Serves what a server of HTTP/1.1 takes in. */
export const serveHttp1 = (server: Server, serve: Serve): Http1Entrance => {
  /** With what ends them, once they are WebSockets. */
  const upgraded = new Map<Socket, () => void>()
  /** How many requests a connection has that are not answered yet. */
  const openOn = new WeakMap<Socket, number>()
  /** Answers that are not over. */
  const answers = new Set<ServerResponse>()
  let isRetired = false

  const onRequest = (request: IncomingMessage, response: ServerResponse, expectsContinue: boolean) => {
    const { socket } = request
    openOn.set(socket, (openOn.get(socket) ?? 0) + 1)
    // Node's parser stops behind an upgrade: what came with one that is declined is lost, maybe half of a next request.
    if (isRetired || request.headers.upgrade !== undefined) response.shouldKeepAlive = false
    const exchange = createHttp1Exchange(request, response, randomUUID(), expectsContinue)
    answers.add(response)
    exchange.onOver(() => {
      answers.delete(response)
      const open = (openOn.get(socket) ?? 1) - 1
      openOn.set(socket, open)
      // Its head may have said before that the connection is kept.
      if (isRetired && open === 0) socket.destroySoon()
    })
    const toClaim = () => {
      checkHttp1(request)
      return claimOf(exchange.head)
    }
    serve(exchange, toClaim, (at, pool) => {
      exchange.askForBody()
      return sendRequest(exchange, at, pool)
    })
  }

  const onUpgrade = (request: IncomingMessage, socket: Socket, head: Buffer) => {
    remember(upgraded, socket)
    // Behind a request that isn't answered yet: two answers would be written over each other.
    if ((openOn.get(socket) ?? 0) > 0) {
      socket.destroy()
      return
    }
    const exchange = createUpgradeExchange(request, socket, randomUUID())
    let fallbackProtocol: string | undefined
    const toClaim = () => {
      checkHttp1(request)
      checkUpgrade(request)
      const claim = claimOfUpgrade(exchange.head)
      fallbackProtocol = claim.fallbackProtocol
      return claim
    }
    const onOpen = (sayFarewell: () => void) => {
      exchange.agree()
      if (isRetired) sayFarewell()
      else upgraded.set(socket, sayFarewell)
    }
    serve(exchange, toClaim, (at, pool) => sendUpgrade({ exchange, socket, head, fallbackProtocol, onOpen }, at, pool))
  }

  server
    .on("request", (request: IncomingMessage, response: ServerResponse) => onRequest(request, response, false))
    // Asked for when it is let in and its VM awake: only then is a body wanted.
    .on("checkContinue", (request: IncomingMessage, response: ServerResponse) => onRequest(request, response, true))
    .on("upgrade", onUpgrade)
    // Refused like one: nobody is a tunnel here.
    .on("connect", onUpgrade)
  return {
    retire() {
      isRetired = true
      for (const answer of answers) answer.shouldKeepAlive = false
      for (const sayFarewell of upgraded.values()) sayFarewell()
    },
    inUse: () => [...upgraded.keys(), ...Array.from(answers, ({ req }) => req.socket)],
    destroy() {
      for (const socket of upgraded.keys()) socket.destroy()
    },
  }
}

/** Until it is closed, with what ends it; its listeners see nothing of the request, which a WebSocket would keep. */
const remember = (connections: Map<Socket, () => void>, socket: Socket): void => {
  connections.set(socket, () => socket.end())
  socket.once("close", () => connections.delete(socket)).on("error", () => {})
}
