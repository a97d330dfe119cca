import { once } from "node:events"
import { createServer, type Socket } from "node:net"
import { listen } from "../test-edge.ts"
import { CONTINUATION, END_HEADERS, HEADERS, readFrames, SETTINGS } from "./frames.ts"

export interface NaiveHttp2 extends AsyncDisposable {
  readonly port: number
  /** Requests that it began with, bytes of headers that it keeps until they are whole, and settings that it took. */
  readonly taken: { requests: number; headerBytes: number; settings: number }
}

const PREFACE_LENGTH = 24

/** A server of HTTP/2 as its first drafts were: it does whatever a frame asks for, and counts nothing. */
export const openNaiveHttp2 = async (): Promise<NaiveHttp2> => {
  const taken = { requests: 0, headerBytes: 0, settings: 0 }
  const clients = new Set<Socket>()
  const server = createServer((client) => {
    clients.add(client)
    let left = PREFACE_LENGTH
    const read = readFrames(({ type, flags, payload }) => {
      if (type === HEADERS || type === CONTINUATION) {
        taken.headerBytes += payload.length
        if ((flags & END_HEADERS) !== 0) taken.requests++
      }
      if (type === SETTINGS) taken.settings += payload.length / 6
    })
    client
      .on("error", () => {})
      .on("data", (data: Buffer) => {
        const rest = data.subarray(left)
        left -= Math.min(left, data.length)
        read(rest)
      })
  })
  return {
    port: await listen(server),
    taken,
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.destroy()
      server.close()
      await once(server, "close")
    },
  }
}
