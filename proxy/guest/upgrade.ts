/** The way of a WebSocket into the guest: nothing that the client sends goes in before the application has agreed to the upgrade. */
import type { IncomingHttpHeaders } from "node:http"
import type { Socket } from "node:net"
import type { Readable } from "node:stream"
import type { Exchange } from "../exchange.ts"
import { prepareAnswer } from "../headers.ts"
import { createPacedStream } from "../limits/bandwidth.ts"
import type { Paces } from "../limits/limits.ts"
import { sendBodiless } from "./bodiless/send.ts"
import { toEdgeError } from "./failure.ts"
import { carryFrames, closeFrame, maskedCloseFrame } from "./farewell.ts"
import type { Place } from "./place.ts"
import { meterSocket, type Pool } from "./pools.ts"
import { speechOf } from "./speech.ts"

/** The client's side of an upgrade. */
export interface Upgrading {
  /** Answers it when the application does so instead of agreeing. */
  readonly exchange: Exchange
  readonly socket: Socket
  /** What the client sent already behind its request. */
  readonly head: Buffer
  /** What the client is told when the application chooses no subprotocol. */
  readonly fallbackProtocol: string | undefined
  /** Is given what ends the WebSocket with a close frame each way, once it is one. */
  readonly onOpen: (sayFarewell: () => void) => void
}

/** Resolves when it has become a WebSocket, or the answer instead of it is over; rejects with an EdgeError while nothing was answered. */
export const sendUpgrade = async (upgrading: Upgrading, at: Place, pool: Pool): Promise<void> => {
  const { socket } = upgrading
  const known = await pool.speech.get(at.port)
  if (socket.destroyed) return
  try {
    await attempt(upgrading, at, pool, known?.isTls ?? false).catch(async (error: unknown) => {
      if (known !== undefined || socket.destroyed || pool.isDropped) throw error
      const speech = await speechOf(pool.speech, at)
      if (!speech.isTls || socket.destroyed || pool.isDropped) throw error
      await attempt(upgrading, at, pool, true)
    })
  } catch (error) {
    pool.speech.delete(at.port)
    throw toEdgeError(error, pool)
  }
}

const attempt = (
  { exchange, socket, head, fallbackProtocol, onOpen }: Upgrading,
  at: Place,
  pool: Pool,
  isTls: boolean,
): Promise<void> => {
  const refuseTls = async () => {
    if ((await speechOf(pool.speech, at)).isTls) throw new Error("The application speaks TLS")
  }
  return sendBodiless(exchange, at, {
    connections: pool.connections,
    isTls,
    maxRestMs: 0,
    accept: (status) => (status === 400 && !isTls ? refuseTls() : undefined),
    onUpgrade(headers, guest) {
      socket.write(toHead(headers, at.requestId, fallbackProtocol), "latin1")
      if (head.length > 0) socket.unshift(head)
      guest.once("close", meterSocket(guest, at.meter))
      at.onWebSocket(socket)
      onOpen(join(socket, guest, pool, at.paces))
    },
  })
}

const toHead = (answered: IncomingHttpHeaders, requestId: string, fallbackProtocol: string | undefined): string => {
  const headers = prepareAnswer(answered, requestId)
  if (fallbackProtocol !== undefined) headers["sec-websocket-protocol"] ??= fallbackProtocol
  const lines = Object.entries({ ...headers, connection: "Upgrade", upgrade: "websocket" }).flatMap(([name, value]) =>
    [value].flat().map((one) => `${name}: ${one}`),
  )
  return ["HTTP/1.1 101 Switching Protocols", ...lines, "\r\n"].join("\r\n")
}

/** Two ends that close together: what one has sent still reaches the other, unless the other is gone. Returns what ends both. */
const join = (socket: Socket, guest: Socket, { upgraded }: Pool, paces: Paces | undefined): (() => void) => {
  for (const end of [socket, guest]) end.setTimeout(0).setNoDelay(true).setKeepAlive(true)
  const [inward, outward] =
    paces === undefined
      ? [socket, guest]
      : [socket.pipe(createPacedStream(paces.toGuest)), guest.pipe(createPacedStream(paces.toClient))]
  upgraded.add(guest)
  guest
    .on("error", () => {})
    .once("close", () => {
      upgraded.delete(guest)
      whenPassed(guest, outward, () => socket.destroySoon())
    })
  socket.once("close", () =>
    whenPassed(socket, inward, () => (guest.writableEnded ? guest.destroySoon() : guest.destroy())),
  )
  const sayToGuest = carryFrames(inward, guest, maskedCloseFrame)
  const sayToClient = carryFrames(outward, socket, closeFrame)
  return () => {
    sayToGuest()
    sayToClient()
  }
}

/** Once what an end has sent is on its way to the other, which a pace may hold up. */
const whenPassed = (end: Socket, passed: Readable, then: () => void): void => {
  if (passed === end || passed.readableEnded) then()
  else if (end.readableEnded) passed.once("close", then)
  else {
    passed.destroy()
    then()
  }
}
