/** The part of the agent's client that is about a function: its programs' life, and its invocations. */
import type { ClientHttp2Stream, OutgoingHttpHeaders } from "node:http2"
import { framesOf, type AnswerFrame } from "./answer-frames.ts"
import {
  FunctionStep,
  type FailureSpec,
  type FunctionSpec,
  type InvocationSpec,
  type ProcessSpec,
  type RecordSpec,
  type RestoreSpec,
} from "./protocol.ts"
import { INVOCATION_HEADER } from "./version.ts"

export interface FunctionClient {
  /** Starts the extensions and the runtime; how far they come is told by `untilInitialised`. */
  startFunction(spec: FunctionSpec, signal: AbortSignal): Promise<void>
  /** Starts a runtime that waits for its function. */
  startWaiting(spec: ProcessSpec, signal: AbortSignal): Promise<void>
  /** The function of training is over, and the runtime waits again. */
  endTraining(signal: AbortSignal): Promise<void>
  /** Resolves when they wait for their first event, or with the kind of failure that came before. */
  untilInitialised(signal: AbortSignal): Promise<FunctionStep>
  /** Gives an event, one at a time; the answer's frames as they come, up to `settled`. */
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
  /** A stream whose answer's head has come. */
  answer(path: string, headers: OutgoingHttpHeaders, body: Buffer, signal: AbortSignal): Promise<ClientHttp2Stream>
}

export const createFunctionClient = ({ ask, text, answer }: Asking): FunctionClient => ({
  startFunction: (spec, signal) => ask("PUT", "/function", spec, signal),
  startWaiting: (spec, signal) => ask("PUT", "/function/waiting", spec, signal),
  endTraining: (signal) => ask("DELETE", "/function/training", undefined, signal),
  untilInitialised: async (signal) =>
    FunctionStep.parse(JSON.parse(await text("GET", "/function/initialised", undefined, signal))),
  async *invokeFunction(spec, event, signal) {
    const header = Buffer.from(JSON.stringify(spec)).toString("base64url")
    yield* framesOf(await answer("/function/invocation", { [INVOCATION_HEADER]: header }, event, signal))
  },
  restoreFunction: async (spec, signal) =>
    FunctionStep.parse(JSON.parse(await text("POST", "/function/restore", spec, signal))),
  failFunction: (spec, signal) => ask("POST", "/function/failure", spec, signal),
  recordForFunction: (spec, signal) => ask("POST", "/function/record", spec, signal),
  endFunction: (reason, signal) => ask("DELETE", `/function?reason=${reason}`, undefined, signal),
})
