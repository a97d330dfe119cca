/** The part of the agent's client that is about a function: its programs' life, and its invocations. */
import type { ClientHttp2Stream } from "node:http2"
import { framesOf, toEventFrame, type AnswerFrame } from "./answer-frames.ts"
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

/** What the agent's client has to ask with. */
export interface Asking {
  ask(method: string, path: string, body: unknown, signal: AbortSignal): Promise<void>
  text(method: string, path: string, body: unknown, signal: AbortSignal): Promise<string>
  /** A request that is written to, and whose answer comes, for as long as both live. */
  converse(path: string): ClientHttp2Stream
  /** Resolves with the answer's head; rejects when it is a refusal. */
  answered(stream: ClientHttp2Stream): Promise<unknown>
}

/** The events' stream, and the answers in it. */
interface Line {
  readonly stream: ClientHttp2Stream
  readonly accepted: Promise<unknown>
  readonly frames: AsyncGenerator<AnswerFrame>
}

export const createFunctionClient = ({ ask, text, converse, answered }: Asking): FunctionClient => {
  let line: Line | undefined

  const openLine = (): Line => {
    if (line !== undefined && !line.stream.destroyed && !line.stream.closed) return line
    const stream = converse("/function/events")
    const accepted = answered(stream)
    accepted.catch(() => {})
    return (line = { stream, accepted, frames: framesOf(stream) })
  }

  return {
    startFunction: (spec, signal) => ask("PUT", "/function", spec, signal),
    startWaiting: (spec, signal) => ask("PUT", "/function/waiting", spec, signal),
    endTraining: (signal) => ask("DELETE", "/function/training", undefined, signal),
    untilInitialised: async (signal) =>
      FunctionStep.parse(JSON.parse(await text("GET", "/function/initialised", undefined, signal))),
    async *invokeFunction(spec, event, signal) {
      signal.throwIfAborted()
      const { stream, accepted, frames } = openLine()
      const giveUp = () => void stream.destroy()
      signal.addEventListener("abort", giveUp, { once: true })
      let isSettled = false
      try {
        stream.write(toEventFrame(JSON.stringify({ ...spec, sentAt: Date.now() } satisfies SentInvocation), event))
        await accepted
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
    restoreFunction: async (spec, signal) =>
      FunctionStep.parse(JSON.parse(await text("POST", "/function/restore", spec, signal))),
    failFunction: (spec, signal) => ask("POST", "/function/failure", spec, signal),
    recordForFunction: (spec, signal) => ask("POST", "/function/record", spec, signal),
    endFunction: (reason, signal) => ask("DELETE", `/function?reason=${reason}`, undefined, signal),
  }
}
