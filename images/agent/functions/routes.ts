import { once } from "node:events"
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2"
import { toFailureContent, toFrame } from "../../../src/agent/answer-frames.ts"
import type {
  EndSpec,
  FailureSpec,
  FunctionSpec,
  FunctionStep,
  InvocationSpec,
  RecordSpec,
} from "../../../src/agent/protocol.ts"
import { INVOCATION_HEADER } from "../../../src/agent/version.ts"
import { bodyOf } from "../json-body.ts"
import type { Handler } from "../route-server.ts"
import { MAX_PAYLOAD_BYTES } from "./body.ts"
import { toFailure, type Answer } from "./invocation.ts"
import { openRuntimeApi, type RuntimeApi } from "./runtime-api.ts"

export interface Listening {
  readonly address: string
  readonly port: number
}

/** The routes of a function, as protocol.ts has them: the host starts the processes, and says what is to become of them. */
export const createFunctionRoutes = (listening: Listening): Record<string, Handler> => {
  let life: RuntimeApi | undefined
  const now = (): RuntimeApi => {
    if (life === undefined) throw new Error("There is no function here")
    return life
  }
  const end = async () => {
    const over = life
    life = undefined
    over?.fail(toFailure("Runtime.Unknown", "The environment has ended."))
    await over?.[Symbol.asyncDispose]()
  }
  /** A life that has failed before has not come so far; its failure is told by its invocation. */
  const until =
    (milestone: "registered" | "initialised"): Handler =>
    async () => {
      const api = now()
      const failure = await Promise.race([api[milestone].then(() => undefined), api.failed])
      return { failed: failure === undefined ? null : failure.errorType } satisfies FunctionStep
    }
  return {
    "PUT /function": async (request) => {
      const spec = await bodyOf<FunctionSpec>(request)
      await end()
      life = await openRuntimeApi({ ...listening, ...spec })
    },
    "GET /function/registered": until("registered"),
    "GET /function/initialised": until("initialised"),
    "POST /function/invocation": async (request, response) => {
      const spec = JSON.parse(
        Buffer.from(String(request.headers[INVOCATION_HEADER]), "base64url").toString("utf8"),
      ) as InvocationSpec
      const payload = await payloadOf(request)
      await sendAnswer(now().invoke({ ...spec, payload }), response)
    },
    "POST /function/restore": async () => now().restore(),
    "POST /function/failure": async (request) => {
      const { errorType, errorMessage } = await bodyOf<FailureSpec>(request)
      now().fail(toFailure(errorType, errorMessage))
    },
    "POST /function/shutdown": async (request) => {
      const { reason, deadlineMs } = await bodyOf<EndSpec>(request)
      now().shutdown(reason, deadlineMs)
    },
    "POST /function/record": async (request) => {
      const { type, record } = await bodyOf<RecordSpec>(request)
      now().record(type, record)
    },
    "DELETE /function": end,
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
const sendAnswer = async ({ head, body, end, settled }: Answer, response: Http2ServerResponse) => {
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
  await send(toFrame("settled", Buffer.from(JSON.stringify(await settled))))
  response.end()
}
