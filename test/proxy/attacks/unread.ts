/** Those who ask for much and read nothing, and who answers them. */
import type { RequestListener } from "node:http"
import type { Socket } from "node:net"
import { expect } from "vitest"
import { eventually } from "../../fixtures/eventually.ts"
import {
  block,
  END_STREAM,
  frame,
  headerFrames,
  INITIAL_WINDOW_SIZE,
  openHttp2Connection,
  settings,
  WINDOW_UPDATE,
  type EdgeAt,
  type Field,
  type Http2Connection,
} from "./frames.ts"

const MAX_WINDOW = 2 ** 31 - 1
const PIECE = Buffer.alloc(64 * 1024)

/** What an application wrote of its answers. */
export interface Written {
  bytes: number
}

/** An application that answers without end, as fast as it is read, but at once on `/short`. */
export const endlessly =
  (written: Written): RequestListener =>
  (request, response) => {
    if (request.url === "/short") {
      response.end("ok")
      return
    }
    const more = () => {
      let takes = true
      while (takes && response.writable) {
        written.bytes += PIECE.length
        takes = response.write(PIECE)
      }
    }
    response.on("drain", more)
    more()
  }

/** Until it says no more: nobody takes it. */
export const untilHeldBack = async (written: Written): Promise<void> => {
  let before = written.bytes
  await eventually(() => {
    const isHeldBack = written.bytes > 0 && written.bytes === before
    before = written.bytes
    expect(isHeldBack).toBe(true)
  })
}

/** A connection that may be sent two GiB and of which nobody reads. */
export const openUnread = async (edge: EdgeAt): Promise<Http2Connection> => {
  const socket = await openHttp2Connection(edge, settings([INITIAL_WINDOW_SIZE, MAX_WINDOW]))
  socket.pause()
  const increment = Buffer.alloc(4)
  increment.writeUInt32BE(MAX_WINDOW - 65_535)
  socket.write(frame(WINDOW_UPDATE, 0, 0, increment))
  return socket
}

export const askOften = (socket: Socket, times: number, fields: readonly Field[]) => {
  for (let index = 0; index < times; index++) socket.write(headerFrames(END_STREAM, 2 * index + 1, block(fields)))
}
