import { setImmediate as turn } from "node:timers/promises"
import type { FunctionSpec, FunctionStep, ProcessSpec } from "../../../src/agent/protocol.ts"
import type { CallHandlers, CallServerOptions } from "../call-server.ts"
import type { ProcessTable } from "../process-table.ts"
import { createEventServer } from "./events.ts"
import { toFailure } from "./invocation.ts"
import { startLife, type Life } from "./life/life.ts"
import { createPrograms, findExtensions, RUNTIME } from "./life/programs.ts"
import { limitMemory, readMemoryPeak } from "./memory.ts"
import { meetOtherShapes } from "./other-shapes.ts"
import { openProgramPort, type ProgramPort } from "./program-port.ts"
import { limitProcessor } from "./processor.ts"
import { startWaiting, type WaitingRuntime } from "./waiting-runtime.ts"

/** What the host calls for a function. */
type FunctionHandlers = Pick<
  CallHandlers,
  | "startFunction"
  | "startWaiting"
  | "endTraining"
  | "untilInitialised"
  | "restoreFunction"
  | "failFunction"
  | "recordForFunction"
  | "endFunction"
>

export interface FunctionCalls extends Pick<CallServerOptions, "serveEvents"> {
  readonly handlers: FunctionHandlers
  /** A drive has been mounted, which a function's programs may be on. */
  mounted(drive: number): void
  /** A drive is about to be unmounted. */
  unmounting(drive: number): void
}

/** The calls and events of a function, as protocol.ts has them: one at a time, whose lives the host begins and ends. */
export const createFunctionCalls = (
  processes: ProcessTable,
  listening: { readonly address: string; readonly port: number },
): FunctionCalls => {
  /** Opened for the first life; what waits for another connects between them. */
  let programPort: ProgramPort | undefined
  let life: Life | undefined
  /** Settled when one that is being started is there. */
  let begun: Promise<unknown> = Promise.resolve()
  let waiting: WaitingRuntime | undefined
  const now = (): Life => {
    if (life === undefined) throw new Error("There is no function here")
    return life
  }
  const stepOf = async ({ api }: Life, reached: Promise<unknown>, mark: string): Promise<FunctionStep> => {
    const failure = await Promise.race([reached.then(() => undefined), api.failed])
    // What was said before it came so far is heard by now, or in this turn.
    await turn()
    const { hasSpoken } = processes
    // On its way beside the answer: whoever wants what was said meanwhile waits for the mark.
    if (hasSpoken) void processes.flush(mark)
    return { failed: failure?.errorType ?? null, hasExtensions: api.hasExtensions, hasSpoken }
  }
  const start = async ({ runtime, isTraining = false, processorShare, ...spec }: FunctionSpec) => {
    if (life !== undefined) throw new Error("There is a function already")
    limitProcessor(undefined)
    limitMemory(runtime.memoryMaxMiB)
    const extensions = findExtensions(runtime)
    const taken = waiting
    if (!isTraining) waiting = undefined
    const fits = taken?.canBecome(runtime) === true
    if (taken !== undefined && !fits) await processes.end(RUNTIME)
    const become = fits ? (assigned: ProcessSpec) => taken.become(assigned, isTraining) : undefined
    programPort ??= await openProgramPort(listening)
    const startProgram = createPrograms(processes, runtime, `${listening.address}:${listening.port}`, become)
    life = startLife({ ...spec, programPort, extensions, start: startProgram })
    void life.api.initialised.then(() => limitProcessor(processorShare))
  }
  const handlers: FunctionHandlers = {
    startFunction(spec) {
      const started = start(spec)
      begun = started.catch(() => {})
      return started
    },
    async startWaiting(spec) {
      if (life !== undefined || waiting !== undefined) throw new Error("There is a runtime already")
      waiting = await startWaiting(processes, RUNTIME, spec)
    },
    async endTraining() {
      await life?.release()
      life = undefined
      limitMemory(null)
      meetOtherShapes()
      // What follows begins with nothing to tidy up.
      globalThis.gc?.({ type: "minor" })
    },
    async untilInitialised() {
      await begun
      return stepOf(now(), now().api.initialised, "initialised")
    },
    async restoreFunction({ env }) {
      now().api.restore(env)
      return stepOf(now(), now().api.restored, "restored")
    },
    failFunction: async ({ errorType, errorMessage }) => now().api.fail(toFailure(errorType, errorMessage)),
    recordForFunction: async ({ type, record }) => now().api.record(type, record),
    async endFunction({ reason }) {
      await life?.end(reason)
      life = undefined
      limitMemory(null)
    },
  }
  const serveEvents = createEventServer((spec, payload) => {
    const { api } = now()
    const answer = api.invoke({ ...spec, payload })
    return {
      answer,
      end: async () => {
        const { durationMs } = await answer.settled
        // What was said before the answer is heard by now, or in this turn.
        await turn()
        await processes.flush(spec.requestId)
        return { durationMs, isOver: api.isOver, maxMemoryBytes: readMemoryPeak() }
      },
    }
  })
  return {
    handlers,
    serveEvents,
    mounted: (drive) => waiting?.fill(drive),
    unmounting: (drive) => waiting?.empty(drive),
  }
}
