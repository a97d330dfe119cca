/**
 * Calls of the host, each answered once, on a connection that stays. Frames: HTTP would cost an emulated guest that has just been loaded
 * many times what the call does.
 */
import { connect, type Socket } from "node:net"
import { AgentError, parseJson, refusalFrom } from "./agent-error.ts"
import { CALL_KINDS, createFrameReader, toFrame, toUInt32 } from "./frames.ts"
import type { Calls } from "./protocol.ts"

/** What a guest may answer to a call. */
const MAX_ANSWER_BYTES = 64 * 1024
const ID_BYTES = 4

export interface Caller {
  /** Resolves with the answer, which is the guest's and may be anything; rejects with an {@link AgentError} where it is a refusal. Given up by `signal`. */
  call<Name extends keyof Calls>(name: Name, params: Calls[Name], signal: AbortSignal): Promise<unknown>
  close(): void
}

/** A connection to the agent, which begins with the secret of this life of the guest. Whoever opened it destroys it. */
export const openConnection = (address: string, port: number, secret: Buffer): Socket => {
  const socket = connect({ host: address, port, noDelay: true })
  // What waits for it hears of its end.
  socket.on("error", () => {})
  socket.write(toFrame(CALL_KINDS.secret, secret))
  return socket
}

/** Connects with its first call, and again with the first after the guest closed the connection. */
export const createCaller = (open: () => Socket): Caller => {
  let line: Line | undefined
  return {
    async call(name, params, signal) {
      signal.throwIfAborted()
      if (line === undefined || line.socket.destroyed) line = createLine(open())
      return line.call(name, params, signal)
    },
    close: () => line?.socket.destroy(),
  }
}

interface Line {
  readonly socket: Socket
  call(name: string, params: unknown, signal: AbortSignal): Promise<unknown>
}

const createLine = (socket: Socket): Line => {
  const waiting = new Map<number, PromiseWithResolvers<unknown>>()
  let calls = 0
  let answers = 0

  const hear = (kind: number, content: Buffer = Buffer.alloc(0)) => {
    // One that was given up is answered all the same; more answers than calls are an attack.
    if (content.length < ID_BYTES || ++answers > calls) throw new AgentError("The guest's answer is malformed")
    const call = waiting.get(content.readUInt32BE())
    const said = parseJson(content.toString("utf8", ID_BYTES))
    if (kind === CALL_KINDS.result) call?.resolve(said)
    else if (kind === CALL_KINDS.error) call?.reject(refusalFrom(said))
    else throw new AgentError("The guest's answer is malformed")
  }
  const refuse = () => {
    throw new AgentError("The guest's answer is too large")
  }
  const read = createFrameReader(() => MAX_ANSWER_BYTES + ID_BYTES, hear, refuse)
  let why: unknown = new Error("The guest closed the connection before it answered")
  socket
    .on("data", (piece) => {
      try {
        read(piece)
      } catch (error) {
        socket.destroy(error as Error)
      }
    })
    .once("error", (error) => (why = error))
    .once("close", () => {
      for (const call of waiting.values()) call.reject(why)
    })

  return {
    socket,
    async call(name, params, signal) {
      const id = calls++ % 2 ** 32
      const call = Promise.withResolvers<unknown>()
      waiting.set(id, call)
      const giveUp = () => {
        call.reject(signal.reason)
        socket.write(toFrame(CALL_KINDS.cancel, toUInt32(id)))
      }
      signal.addEventListener("abort", giveUp, { once: true })
      try {
        socket.write(toFrame(CALL_KINDS.call, toUInt32(id), Buffer.from(JSON.stringify({ name, params }))))
        return await call.promise
      } finally {
        signal.removeEventListener("abort", giveUp)
        waiting.delete(id)
      }
    },
  }
}
