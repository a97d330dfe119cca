import { readFileSync } from "node:fs"
import { setImmediate as turn } from "node:timers/promises"
import type {
  FailureSpec,
  FunctionSpec,
  FunctionStep,
  ProcessSpec,
  RecordSpec,
  RestoreSpec,
} from "../../../src/agent/protocol.ts"
import { bodyOf } from "../json-body.ts"
import type { ProcessTable } from "../process-table.ts"
import type { Handler } from "../route-server.ts"
import { serveEvents } from "./events.ts"
import { toFailure } from "./invocation.ts"
import type { ShutdownReason } from "./extensions.ts"
import { startLife, type Life } from "./life/life.ts"
import { createPrograms, findExtensions, RUNTIME, type Listening } from "./life/programs.ts"
import { limitProcessor } from "./processor.ts"
import { startWaiting, type WaitingRuntime } from "./waiting-runtime.ts"

const REASONS: readonly string[] = ["SPINDOWN", "TIMEOUT", "FAILURE"] satisfies ShutdownReason[]

/** The routes of a function, as protocol.ts has them: one at a time, whose lives the host begins and ends. */
export const createFunctionRoutes = (processes: ProcessTable, listening: Listening): Record<string, Handler> => {
  let life: Life | undefined
  let waiting: WaitingRuntime | undefined
  /** What the one that waits is now, in training. */
  let training: ProcessSpec | undefined
  const now = (): Life => {
    if (life === undefined) throw new Error("There is no function here")
    return life
  }
  const forgetTraining = async () => {
    if (training !== undefined) await waiting?.forget(training)
    training = undefined
  }
  return {
    "PUT /function": async (request) => {
      if (life !== undefined) throw new Error("There is a function already")
      const { runtime, isTraining = false, processorShare, ...spec } = await bodyOf<FunctionSpec>(request)
      limitProcessor(undefined)
      const extensions = await findExtensions(runtime)
      const taken = waiting
      if (!isTraining) waiting = undefined
      const fits = taken?.canBecome(runtime) === true
      if (taken !== undefined && !fits) await processes.end(RUNTIME)
      training = fits && isTraining ? runtime : undefined
      const become = fits ? (assigned: ProcessSpec) => taken.become(assigned, isTraining) : undefined
      const start = createPrograms(processes, runtime, listening, become)
      life = await startLife({ ...listening, ...spec, extensions, start })
      void life.api.initialised.then(() => limitProcessor(processorShare))
    },
    "PUT /function/waiting": async (request) => {
      if (life !== undefined || waiting !== undefined) throw new Error("There is a runtime already")
      waiting = await startWaiting(processes, RUNTIME, await bodyOf<ProcessSpec>(request))
    },
    "DELETE /function/training": async () => {
      await life?.release()
      life = undefined
      await forgetTraining()
      // What follows begins with nothing to tidy up.
      globalThis.gc?.({ type: "minor" })
    },
    "GET /function/initialised": async () => {
      const { api } = now()
      const failure = await Promise.race([api.initialised.then(() => undefined), api.failed])
      await processes.flush("initialised")
      return { failed: failure?.errorType ?? null, hasExtensions: api.hasExtensions } satisfies FunctionStep
    },
    "POST /function/events": (request, response) =>
      serveEvents(request, response, (spec, payload) => {
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
      }),
    "POST /function/restore": async (request) => {
      const { api } = now()
      api.restore((await bodyOf<RestoreSpec>(request)).env)
      const failure = await Promise.race([api.restored.then(() => undefined), api.failed])
      await processes.flush("restored")
      return { failed: failure?.errorType ?? null, hasExtensions: api.hasExtensions } satisfies FunctionStep
    },
    "POST /function/failure": async (request) => {
      const { errorType, errorMessage } = await bodyOf<FailureSpec>(request)
      now().api.fail(toFailure(errorType, errorMessage))
    },
    "POST /function/record": async (request) => {
      const { type, record } = await bodyOf<RecordSpec>(request)
      now().api.record(type, record)
    },
    "DELETE /function": async (_, __, url) => {
      const reason = url.searchParams.get("reason") ?? ""
      if (!REASONS.includes(reason)) throw new Error(`reason: one of ${REASONS.join(", ")} is expected`)
      await life?.end(reason as ShutdownReason)
      life = undefined
      await forgetTraining()
    },
  }
}

/** The most memory that a function's programs have had; 0 where no kernel counts it. */
const readMemoryPeak = (): number => {
  try {
    return Number(readFileSync("/sys/fs/cgroup/torpor-app/memory.peak", "utf8"))
  } catch {
    return 0
  }
}
