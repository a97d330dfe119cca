/**
 * How our own bootstraps take events, instead of by the Runtime API's `next`, `response` and `error`: on one connection, which begins as
 * a CONNECT to {@link CHANNEL}, with one write each way for an event. HTTP costs an emulated processor several times what the event does.
 * Frames of a kind, a length and as many bytes. The runtime's:
 * - `N` it waits for an event
 * - `R` its response to the last, and it waits for the next
 * - `E` its error, as event-frames.ts has failures, and it waits for the next
 * - `X` the same, and it ends itself
 * - `S` it waits for its restore
 *
 * The agent's:
 * - `I` an event: the length of its head in four bytes, the head as JSON, and the payload
 * - `V` it has been restored: the variables that are others now, as JSON
 */
import type { IncomingMessage } from "node:http"
import type { Socket } from "node:net"
import type { Duplex } from "node:stream"
import { parseFailureContent } from "../../../src/agent/event-frames.ts"
import { createFrameReader, toFrame, toUInt32 } from "../../../src/agent/frames.ts"
import { MAX_PAYLOAD_BYTES } from "./body.ts"
import type { InvocationEvent } from "./invocation.ts"
import type { RestoredVariables } from "./runtime.ts"

/** Nothing that another client would ask for. */
const CHANNEL = "torpor.runtime:1"
/** How our own bootstraps ask for it, at once and with no more than a host's name behind it. */
const [GREETING, END_OF_GREETING, MAX_GREETING_BYTES] = [`CONNECT ${CHANNEL} HTTP/1.1\r\n`, "\r\n\r\n", 256]

const [WAITS, RESPONSE, ERROR, LAST_ERROR, RESTORABLE] = [0x4e, 0x52, 0x45, 0x58, 0x53]
const [EVENT, RESTORED] = [0x49, 0x56]
/** An error's kind stands before it. */
const MAX_FRAME_BYTES = MAX_PAYLOAD_BYTES + 256

/** The runtime, as it is spoken to by a channel; what it may not do throws. */
export interface ChannelRuntime {
  ask(asking: Asking): void
  awaitRestore(awaiting: AwaitingRestore): void
  /** `undefined`: it is too large. */
  respond(body: Buffer | undefined): void
  fail(errorType: string, body: Buffer): void
}

/** Whoever waits for a runtime's next event, by HTTP or by a channel. */
export interface Asking {
  readonly isGone: boolean
  give(event: InvocationEvent): void
  /** Another asks in its place. */
  refuse(): void
}

/** Whoever waits for a runtime's restore, by HTTP or by a channel. */
export interface AwaitingRestore {
  readonly isGone: boolean
  goOn(variables: RestoredVariables): void
  /** Another waits in its place. */
  refuse(): void
}

export interface Channels {
  /** Takes one that was greeted, with what came behind its greeting. */
  serve(connection: Socket, behind: Buffer): void
  /** Takes one that asked for a channel, and whatever else is none, by an HTTP parser: its first bytes came in pieces, or in another's words. */
  take(request: IncomingMessage, connection: Duplex, first: Buffer): void
}

const ANSWER = "HTTP/1.1 200 OK\r\n\r\n"

/** Greets a connection whose first bytes ask for a channel: answers with what came behind them, or with nothing where they don't. */
export const greet = (connection: Socket, first: Buffer): Buffer | undefined => {
  const end = first.subarray(0, MAX_GREETING_BYTES).indexOf(END_OF_GREETING)
  if (end < 0 || !first.toString("latin1", 0, end).startsWith(GREETING)) return undefined
  connection.write(ANSWER)
  return first.subarray(end + END_OF_GREETING.length)
}

/** The channels of one life; the last that asks is given the event. Whoever listens for connections ends them. */
export const createChannels = (runtime: ChannelRuntime): Channels => {
  const serve = (connection: Socket, behind: Buffer) => {
    const asking: Asking & AwaitingRestore = {
      get isGone() {
        return connection.destroyed
      },
      give: (event) => void connection.write(toEventFrame(event)),
      goOn: (variables) => void connection.write(toFrame(RESTORED, Buffer.from(JSON.stringify(variables)))),
      refuse: () => void connection.destroy(),
    }
    const fail = (content: Buffer | undefined) => {
      if (content === undefined) return runtime.respond(undefined)
      const { errorType, body } = parseFailureContent(content)
      return runtime.fail(errorType, body)
    }
    const hear = (kind: number, content: Buffer | undefined) => {
      switch (kind) {
        case WAITS:
          break
        case RESTORABLE:
          return runtime.awaitRestore(asking)
        case RESPONSE:
          runtime.respond(content !== undefined && content.length <= MAX_PAYLOAD_BYTES ? content : undefined)
          break
        case ERROR:
        case LAST_ERROR:
          fail(content)
          break
        default:
          throw new Error("The runtime said what is no frame")
      }
      if (kind !== LAST_ERROR) runtime.ask(asking)
    }
    const read = createFrameReader(() => MAX_FRAME_BYTES, hear)
    const take = (chunk: Buffer) => {
      try {
        read(chunk)
      } catch {
        // Its client hears that it is not served any more, as one that is refused does.
        connection.destroy()
      }
    }
    connection.on("data", take)
    if (behind.length > 0) take(behind)
  }

  return {
    serve,
    take(request, connection, first) {
      connection.on("error", () => {})
      if (request.url === CHANNEL) {
        connection.write(ANSWER)
        return serve(connection as Socket, first)
      }
      return void connection.end("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
    },
  }
}

const toEventFrame = (event: InvocationEvent): Buffer => {
  const { requestId, deadlineMs, functionArn, traceId, clientContext, cognitoIdentity, tenantId, payload } = event
  const head = { requestId, deadlineMs, functionArn, traceId, clientContext, cognitoIdentity, tenantId }
  const words = Buffer.from(JSON.stringify(head))
  return toFrame(EVENT, toUInt32(words.length), words, payload)
}
