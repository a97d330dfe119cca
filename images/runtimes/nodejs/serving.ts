/** What a runtime of Node does once it has a function: it takes events, calls the handler, and answers. */
import { moveTimeOrigin } from "./assignment.ts"
import { callBack } from "./callback.ts"
import type { Channel, Event } from "./channel.ts"
import { createClient, type Client } from "./client.ts"
import { toContext, type Context } from "./context.ts"
import { RuntimeError, toUnhandled } from "./failure.ts"
import { compile } from "./compile.ts"
import { loadHandler, type Handler } from "./handler.ts"
import { patchConsole, type Log } from "./log.ts"
import { readyToReseedAfterRestore } from "./randomness.ts"
import { highWaterMarkOf, isStreaming, offerStreaming, ResponseStream } from "./streaming.ts"

const UNHANDLED_EXIT = 128
const UNCAUGHT_EXIT = 129

interface Serving {
  readonly env: NodeJS.ProcessEnv
  /** Handlers may also answer by calling back; from Node 24 on only by what they return. */
  readonly hasCallbacks: boolean
  readonly client: Client
  readonly log: Log
  current: { readonly id: string; readonly stream: ResponseStream | undefined } | undefined
  isEnding: boolean
}

export interface ServeOptions {
  /** Serves until there is nobody any more who gives events. */
  readonly isTraining: boolean
  /** Opened before there was a function, for its events. */
  readonly ahead?: Channel | undefined
  /** Called when the handler is about to have its first event, and when that is answered. */
  readonly onFirstEvent?: () => void
  readonly onFirstAnswer?: () => void
}

/** Serves the function of an environment until the process ends. */
export const serve = async (
  env: NodeJS.ProcessEnv,
  { isTraining, ahead, onFirstEvent, onFirstAnswer }: ServeOptions,
): Promise<void> => {
  const version = /nodejs(\d+)/.exec(env["AWS_EXECUTION_ENV"] ?? "")?.[1] ?? process.versions.node.split(".")[0]
  const hasCallbacks = Number(version) < 24
  const client = createClient(env["AWS_LAMBDA_RUNTIME_API"] ?? "", ahead)
  const nobody = hasCallbacks ? "undefined" : "-"
  const log = patchConsole(env, nobody)
  const serving: Serving = { env, hasCallbacks, client, log, current: undefined, isEnding: false }
  const onException = (error: unknown) => void end(serving, "Uncaught Exception", error, UNCAUGHT_EXIT)
  const onRejection = (reason: unknown, promise: Promise<unknown>) =>
    void end(serving, "Unhandled Promise Rejection", toUnhandled(reason, promise), UNHANDLED_EXIT)
  process.on("uncaughtException", onException).on("unhandledRejection", onRejection)
  offerStreaming()
  try {
    const { handler, isStreamed } = await load(serving, isTraining ? `?training=${++trainings}` : "")
    if (env["AWS_LAMBDA_INITIALIZATION_TYPE"] === "snap-start") {
      // What a function of training was given would be the real one's, too.
      const reseed = isTraining ? () => {} : readyToReseedAfterRestore()
      compile(handler)
      Object.assign(env, await client.restored())
      reseed()
      moveTimeOrigin()
    }
    let events = 0
    while (!serving.isEnding) {
      const event = await client.next().catch((error: unknown) => {
        if (isTraining) return undefined
        throw error
      })
      if (event === undefined) break
      if (events === 0) onFirstEvent?.()
      await answer(serving, handler, isStreamed, event)
      if (events === 0) onFirstAnswer?.()
      events++
    }
  } catch (error) {
    await end(serving, serving.current === undefined ? "Uncaught Exception" : "Invoke Error", error, UNCAUGHT_EXIT)
  }
  process.off("uncaughtException", onException).off("unhandledRejection", onRejection)
  client.close()
}

/** The function's code is in no state to go on. */
const end = async (serving: Serving, what: string, error: unknown, code: number) => {
  if (serving.isEnding) return
  serving.isEnding = true
  serving.log.error(what, error)
  const told = serving.current === undefined ? serving.client.failInit(error) : fail(serving, error)
  await told.catch(() => {})
  process.exit(code)
}

const fail = async ({ client, current, isEnding }: Serving, error: unknown) => {
  if (current?.stream?.hasBegun) await current.stream.failWith(error)
  else client.fail(error, isEnding)
}

const answer = async (serving: Serving, handler: Handler, isStreamed: boolean, given: Event) => {
  const { env, client, log, hasCallbacks } = serving
  const context = toContext(given, env)
  const id = context.awsRequestId
  const response = isStreamed ? new ResponseStream(client, id, highWaterMarkOf(handler)) : undefined
  serving.current = { id, stream: response }
  log.requestId = id
  log.tenantId = context.tenantId
  if (given.traceId !== undefined) env["_X_AMZN_TRACE_ID"] = given.traceId
  else delete env["_X_AMZN_TRACE_ID"]
  try {
    const event: unknown = JSON.parse(given.payload)
    if (response !== undefined) await stream(handler, event, context, response)
    else respond(client, await (hasCallbacks ? callBack(handler, event, context) : handler(event, context)))
  } catch (error) {
    if (serving.isEnding) return
    log.error("Invoke Error", error)
    await fail(serving, error)
  }
}

const respond = (client: Client, result: unknown) => {
  let body: string
  try {
    // What has no JSON, as a function or nothing at all, is null.
    body = JSON.stringify(result) ?? "null"
  } catch {
    throw new RuntimeError("Runtime.JSONStringifyError", "Unable to stringify response body")
  }
  client.respond(body)
}

const stream = async (handler: Handler, event: unknown, context: Context, response: ResponseStream) => {
  const returned = handler(event, response, context) as PromiseLike<unknown> | null | undefined
  if (typeof returned?.then !== "function") throw new Error("Streaming does not support non-async handlers.")
  if ((await returned) !== undefined) console.warn("Streaming handlers ignore return values.")
  await response.finished
}

let trainings = 0

const load = async ({ env, hasCallbacks }: Serving, instance: string) => {
  const handler = await loadHandler(env["LAMBDA_TASK_ROOT"] ?? process.cwd(), env["_HANDLER"] ?? "", instance)
  if (!hasCallbacks && handler.length >= 3 && !isStreaming(handler))
    throw new RuntimeError(
      "Runtime.CallbackHandlerDeprecated",
      "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this function to use a supported handler signature to use Node.js 24 or later. For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.",
    )
  return { handler, isStreamed: isStreaming(handler) }
}
