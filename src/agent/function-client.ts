/** The part of the agent's client that is about a function: its programs' life, and its invocations. */
import type { Socket } from "node:net"
import type { Caller } from "./calls.ts"
import { framesOf, toEventFrame, type AnswerFrame } from "./event-frames.ts"
import {
  FunctionStep,
  type FailureSpec,
  type FunctionSpec,
  type InvocationSpec,
  type ProcessSpec,
  type RecordSpec,
  type RestoreSpec,
  type SentInvocation,
} from "./protocol.ts"

export interface FunctionClient {
  /** Starts the extensions and the runtime; how far they come is told by `untilInitialised`. */
  startFunction(spec: FunctionSpec, signal: AbortSignal): Promise<void>
  /** Starts a runtime that waits for its function. */
  startWaiting(spec: ProcessSpec, signal: AbortSignal): Promise<void>
  /** The function of training is over, and the runtime waits again. */
  endTraining(signal: AbortSignal): Promise<void>
  /** Resolves when they wait for their first event, or with the kind of failure that came before. */
  untilInitialised(signal: AbortSignal): Promise<FunctionStep>
  /** Gives an event, one at a time; the answer's frames as they come, up to `settled`. Whoever leaves before it gives the event up. */
  invokeFunction(spec: InvocationSpec, event: Buffer, signal: AbortSignal): AsyncGenerator<AnswerFrame>
  /** Its runtime goes on after a restore; resolves when it waits for its first event, or with the kind of failure that came before. */
  restoreFunction(spec: RestoreSpec, signal: AbortSignal): Promise<FunctionStep>
  /** Its time is over: the invocation in progress ends with this, and there is no other before it is ended and started again. */
  failFunction(spec: FailureSpec, signal: AbortSignal): Promise<void>
  /** What only the host knows, for extensions that subscribed. */
  recordForFunction(spec: RecordSpec, signal: AbortSignal): Promise<void>
  /** Ends its programs in the time that is theirs; resolves when none is left. */
  endFunction(reason: "SPINDOWN" | "TIMEOUT" | "FAILURE", signal: AbortSignal): Promise<void>
}

/** The events' connection, and the answers on it. */
interface EventLine {
  readonly socket: Socket
  readonly frames: AsyncGenerator<AnswerFrame>
}

/** `open` makes a further connection to the agent: an answer is read at its reader's pace, and calls have to go on. */
export const createFunctionClient = (
  { call }: Pick<Caller, "call">,
  open: () => Socket,
): FunctionClient & { close(): void } => {
  let line: EventLine | undefined

  const openLine = (): EventLine => {
    if (line !== undefined && !line.socket.destroyed) return line
    const socket = open()
    return (line = { socket, frames: framesOf(socket) })
  }

  return {
    startFunction: async (spec, signal) => void (await call("startFunction", spec, signal)),
    startWaiting: async (spec, signal) => void (await call("startWaiting", spec, signal)),
    endTraining: async (signal) => void (await call("endTraining", {}, signal)),
    untilInitialised: async (signal) => FunctionStep.parse(await call("untilInitialised", {}, signal)),
    async *invokeFunction(spec, event, signal) {
      signal.throwIfAborted()
      const { socket, frames } = openLine()
      const giveUp = () => void socket.destroy()
      signal.addEventListener("abort", giveUp, { once: true })
      let isSettled = false
      try {
        socket.write(toEventFrame(JSON.stringify({ ...spec, sentAt: Date.now() } satisfies SentInvocation), event))
        while (!isSettled) {
          const { value, done } = await frames.next()
          if (done) break
          isSettled = value.kind === "settled"
          yield value
        }
      } catch (error) {
        signal.throwIfAborted()
        throw error
      } finally {
        signal.removeEventListener("abort", giveUp)
        if (!isSettled) giveUp()
      }
    },
    restoreFunction: async (spec, signal) => FunctionStep.parse(await call("restoreFunction", spec, signal)),
    failFunction: async (spec, signal) => void (await call("failFunction", spec, signal)),
    recordForFunction: async (spec, signal) => void (await call("recordForFunction", spec, signal)),
    endFunction: async (reason, signal) => void (await call("endFunction", { reason }, signal)),
    close: () => line?.socket.destroy(),
  }
}
