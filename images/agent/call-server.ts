/** The agent's port: connections that begin with the host's secret carry calls, or a function's events; the others are somebody else's. */
import { createServer, type Server, type Socket } from "node:net"
import { CALL_KINDS, createFrameReader, toFrame } from "../../src/agent/frames.ts"
import { EVENT_KIND } from "../../src/agent/event-frames.ts"
import type { Calls } from "../../src/agent/protocol.ts"

export interface Call {
  /** Aborted when the host gives the call up, or has gone. A method, as V8 keeps the accessors of each object until a full collection. */
  signal(): AbortSignal
}

/** What is done for each call. What it resolves with is the answer, what it throws the refusal. */
export type CallHandlers = {
  readonly [Name in keyof Calls]: (params: Calls[Name], call: Call) => Promise<unknown>
}

export interface CallServerOptions {
  readonly handlers: CallHandlers
  readonly isSecret: (given: Buffer) => boolean
  /** Called with the first event of a connection; takes each. */
  readonly serveEvents: (connection: Socket) => (content: Buffer) => void
  /** Takes a connection that speaks something else, from its first byte; it is paused. */
  readonly takeOther: (connection: Socket) => void
}

/** Until the host is known as such. */
const MAX_SECRET_BYTES = 64
/** The host's largest are events, of 6 MiB and what is said of them. */
const MAX_FRAME_BYTES = 8 * 1024 * 1024
const ID_BYTES = 4

/** It listens nowhere yet. */
export const createCallServer = (options: CallServerOptions): Server =>
  createServer((connection) => {
    connection.on("error", () => {})
    connection.once("data", (first) => {
      if (first[0] === CALL_KINDS.secret) return serve(connection, first, options)
      connection.pause()
      connection.unshift(first)
      options.takeOther(connection)
    })
  })

const serve = (connection: Socket, first: Buffer, { handlers, isSecret, serveEvents }: CallServerOptions) => {
  const calls = new Map<number, { abort(): void }>()
  let isHost = false
  let takeEvent: ((content: Buffer) => void) | undefined

  const answer = async (content: Buffer) => {
    const id = content.subarray(0, ID_BYTES)
    const number = id.readUInt32BE()
    const send = (kind: number, said: unknown) =>
      void (connection.destroyed || connection.write(toFrame(kind, id, Buffer.from(JSON.stringify(said ?? {})))))
    const { name, params } = JSON.parse(content.toString("utf8", ID_BYTES)) as { name: keyof Calls; params: never }
    const { call, abort } = createCall()
    calls.set(number, { abort })
    try {
      send(CALL_KINDS.result, await handlers[name](params, call))
    } catch (error) {
      const { message, code } = error instanceof Error ? (error as NodeJS.ErrnoException) : { message: String(error) }
      send(CALL_KINDS.error, { message, code })
    } finally {
      calls.delete(number)
    }
  }

  const hear = (kind: number, content: Buffer = Buffer.alloc(0)) => {
    if (!isHost) {
      if (kind !== CALL_KINDS.secret || !isSecret(content)) throw new Error("This is not the host")
      isHost = true
    } else if (kind === CALL_KINDS.call) void answer(content)
    else if (kind === CALL_KINDS.cancel) calls.get(content.readUInt32BE())?.abort()
    else if (kind === EVENT_KIND) (takeEvent ??= serveEvents(connection))(content)
    else throw new Error("There is no such frame")
  }
  const refuse = () => {
    throw new Error("The frame is too long")
  }
  const read = createFrameReader(() => (isHost ? MAX_FRAME_BYTES : MAX_SECRET_BYTES), hear, refuse)
  const take = (piece: Buffer) => {
    try {
      read(piece)
    } catch {
      connection.destroy()
    }
  }
  connection.setNoDelay(true)
  connection.on("data", take)
  connection.once("close", () => {
    for (const { abort } of calls.values()) abort()
  })
  take(first)
}

/** Most calls have no use for a signal: it is made for those that ask for it. */
const createCall = () => {
  let isGivenUp = false
  let controller: AbortController | undefined
  const call: Call = {
    signal() {
      controller ??= new AbortController()
      if (isGivenUp) controller.abort()
      return controller.signal
    },
  }
  const abort = () => {
    isGivenUp = true
    controller?.abort()
  }
  return { call, abort }
}
