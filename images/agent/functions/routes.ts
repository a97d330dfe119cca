import { once } from "node:events"
import { readFileSync } from "node:fs"
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2"
import { toFailureContent, toFrame } from "../../../src/agent/answer-frames.ts"
import type {
  FailureSpec,
  FunctionSpec,
  FunctionStep,
  InvocationEnd,
  InvocationSpec,
  ProcessSpec,
  RecordSpec,
  RestoreSpec,
} from "../../../src/agent/protocol.ts"
import { INVOCATION_HEADER } from "../../../src/agent/version.ts"
import { bodyOf } from "../json-body.ts"
import type { ProcessTable } from "../process-table.ts"
import type { Handler } from "../route-server.ts"
import { MAX_PAYLOAD_BYTES } from "./body.ts"
import { toFailure, type Answer } from "./invocation.ts"
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
    "POST /function/invocation": async (request, response) => {
      const header = Buffer.from(String(request.headers[INVOCATION_HEADER]), "base64url")
      const spec = JSON.parse(header.toString("utf8")) as InvocationSpec
      const payload = await payloadOf(request)
      const { api } = now()
      const answer = api.invoke({ ...spec, payload })
      await sendAnswer(answer, response, async () => {
        const { durationMs } = await answer.settled
        await processes.flush(spec.requestId)
        return { durationMs, isOver: api.isOver, maxMemoryBytes: readMemoryPeak() }
      })
    },
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

const payloadOf = async (request: Http2ServerRequest): Promise<Buffer> => {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length
    if (bytes > MAX_PAYLOAD_BYTES) throw new Error("The event is too large")
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}

/** Every piece as it comes, at the host's pace; when the host has gone the runtime's answer goes nowhere, and it is not held up. */
const sendAnswer = async (
  { head, body, end }: Omit<Answer, "settled">,
  response: Http2ServerResponse,
  settled: () => Promise<InvocationEnd>,
) => {
  const gone = new Promise<void>((resolve) => response.stream.once("close", resolve))
  response.stream.once("close", () => body.destroy())
  const send = async (frame: Buffer) => {
    if (response.stream.destroyed || response.write(frame)) return
    await Promise.race([once(response, "drain").catch(() => {}), gone])
  }
  response.writeHead(200, { "content-type": "application/octet-stream" })
  const begun = await head
  if (begun !== undefined) await send(toFrame("head", Buffer.from(JSON.stringify(begun))))
  try {
    for await (const chunk of body) await send(toFrame("data", chunk as Buffer))
  } catch {
    // Destroyed, with its reader.
  }
  const failure = await end
  await send(
    failure === undefined ? toFrame("done") : toFrame("failure", toFailureContent(failure.errorType, failure.body)),
  )
  await send(toFrame("settled", Buffer.from(JSON.stringify(await settled()))))
  response.end()
}
