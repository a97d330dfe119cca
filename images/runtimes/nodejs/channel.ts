/**
 * How events are taken and answered: on one connection to the agent, with one write each way for an event. What is said on it is in
 * images/agent/functions/runtime-channel.ts.
 */
import { connect } from "node:net"

/** What is known of an event, and its bytes. */
export interface Event {
  readonly requestId: string
  readonly deadlineMs: number
  readonly functionArn: string
  readonly traceId?: string
  /** JSON. */
  readonly clientContext?: string
  /** JSON. */
  readonly cognitoIdentity?: string
  readonly tenantId?: string
  readonly payload: string
}

const HEAD_BYTES = 5
const END_OF_GREETING = "\r\n\r\n"

export type Channel = ReturnType<typeof openChannel>

/** Connects, to `host:port`; whoever opens it closes it. */
export const openChannel = (address: string) => {
  const [host = "127.0.0.1", port = "80"] = address.split(":")
  const socket = connect({ host, port: Number(port), noDelay: true })
  let beGreeted = () => {}
  const greeted = new Promise<void>((resolve) => (beGreeted = resolve))
  let pieces: Buffer[] = []
  let held = 0
  let needed = HEAD_BYTES
  let isGreeted = false
  let isAsked = false
  let waiting: { readonly resolve: (frame: Buffer) => void; readonly reject: (error: Error) => void } | undefined
  let over: Error | undefined

  const hear = (chunk: Buffer) => {
    pieces.push(chunk)
    held += chunk.length
    if (held < needed) return
    let all = pieces.length === 1 ? chunk : Buffer.concat(pieces)
    if (!isGreeted) {
      const end = all.indexOf(END_OF_GREETING)
      isGreeted = end >= 0
      if (isGreeted) {
        all = all.subarray(end + END_OF_GREETING.length)
        // One that is not waited for is nothing to be done.
        if (waiting === undefined) socket.unref()
        beGreeted()
      }
    }
    pieces = [all]
    held = all.length
    if (!isGreeted || held < HEAD_BYTES) return
    needed = HEAD_BYTES + all.readUInt32BE(1)
    if (held < needed) return
    pieces = []
    held = 0
    needed = HEAD_BYTES
    // What follows is not of this event's time.
    socket.unref()
    waiting?.resolve(all)
    waiting = undefined
  }
  const end = (error: Error) => {
    over ??= error
    waiting?.reject(over)
    beGreeted()
  }
  socket.on("data", hear).on("error", end)
  socket.on("close", () => end(new Error("The next event was refused")))
  socket.write("CONNECT torpor.runtime:1 HTTP/1.1\r\nHost: torpor.runtime:1\r\n\r\n")

  const send = (kind: string, content: Buffer) => {
    const frame = Buffer.allocUnsafe(HEAD_BYTES + content.length)
    frame.write(kind, "latin1")
    frame.writeUInt32BE(content.length, 1)
    content.copy(frame, HEAD_BYTES)
    socket.write(frame)
  }

  /** The next frame; as long as it is waited for there is something to be done. */
  const hearNext = (): Promise<Buffer> => {
    socket.ref()
    return new Promise((resolve, reject) => {
      waiting = { resolve, reject }
      if (over !== undefined) reject(over)
    })
  }

  const answer = (kind: string, content: Buffer) => {
    send(kind, content)
    isAsked = true
  }

  return {
    address,
    /** Resolves when it may wait for a function, or has failed. */
    greeted,
    isOver: () => over !== undefined,
    /** Asks for it, unless the answer to the last has done so. */
    async next(): Promise<Event> {
      if (!isAsked) send("N", Buffer.alloc(0))
      isAsked = false
      return toEvent(await hearNext())
    },
    /** Resolves when the environment has been restored from its snapshot, with the variables that are others now. */
    async restored(): Promise<Readonly<Record<string, string>>> {
      send("S", Buffer.alloc(0))
      const told = await hearNext()
      return JSON.parse(told.toString("utf8", HEAD_BYTES)) as Record<string, string>
    },
    respond: (body: string) => answer("R", Buffer.from(body)),
    /** `isLast`: the process ends itself. */
    fail(errorType: string, body: string, isLast: boolean) {
      const name = Buffer.from(errorType).subarray(0, 255)
      answer(isLast ? "X" : "E", Buffer.concat([Buffer.of(name.length), name, Buffer.from(body)]))
    },
    close: () => void socket.destroy(),
  }
}

const toEvent = (frame: Buffer): Event => {
  const from = HEAD_BYTES + 4
  const end = from + frame.readUInt32BE(HEAD_BYTES)
  const head = JSON.parse(frame.toString("utf8", from, end)) as Omit<Event, "payload">
  return { ...head, payload: frame.toString("utf8", end) }
}
