/** The runtime of Node functions: takes events, calls the handler, and answers, until it is ended. */
import { callBack } from "./callback.ts"
import { createClient } from "./client.ts"
import { toContext, type Context } from "./context.ts"
import { RuntimeError, toUnhandled } from "./failure.ts"
import { loadHandler, type Handler } from "./handler.ts"
import { patchConsole } from "./log.ts"
import { highWaterMarkOf, isStreaming, offerStreaming, ResponseStream } from "./streaming.ts"

const { env } = process
/** From Node 24 on handlers only answer by what they return. */
const hasCallbacks =
  Number(/nodejs(\d+)/.exec(env["AWS_EXECUTION_ENV"] ?? "")?.[1] ?? process.versions.node.split(".")[0]) < 24
const UNHANDLED_EXIT = 128
const UNCAUGHT_EXIT = 129

const client = createClient(env["AWS_LAMBDA_RUNTIME_API"] ?? "")
const log = patchConsole(env, hasCallbacks ? "undefined" : "-")
let current: { readonly id: string; readonly stream: ResponseStream | undefined } | undefined
let isEnding = false

/** The function's code is in no state to go on. */
const end = async (what: string, error: unknown, code: number) => {
  if (isEnding) return
  isEnding = true
  log.error(what, error)
  const told = current === undefined ? client.failInit(error) : fail(error)
  await told.catch(() => {})
  process.exit(code)
}
process.on("uncaughtException", (error) => void end("Uncaught Exception", error, UNCAUGHT_EXIT))
process.on(
  "unhandledRejection",
  (reason, promise) => void end("Unhandled Promise Rejection", toUnhandled(reason, promise), UNHANDLED_EXIT),
)

const fail = async (error: unknown) => {
  if (current?.stream?.hasBegun) await current.stream.failWith(error)
  else await client.fail(current?.id ?? "", error)
}

const respond = async (id: string, result: unknown) => {
  let body: string
  try {
    // What has no JSON, as a function or nothing at all, is null.
    body = JSON.stringify(result) ?? "null"
  } catch {
    throw new RuntimeError("Runtime.JSONStringifyError", "Unable to stringify response body")
  }
  await client.respond(id, body)
}

const stream = async (handler: Handler, event: unknown, context: Context, response: ResponseStream) => {
  const returned = handler(event, response, context) as PromiseLike<unknown> | null | undefined
  if (typeof returned?.then !== "function") throw new Error("Streaming does not support non-async handlers.")
  if ((await returned) !== undefined) console.warn("Streaming handlers ignore return values.")
  await response.finished
}

const load = async () => {
  const handler = await loadHandler(env["LAMBDA_TASK_ROOT"] ?? process.cwd(), env["_HANDLER"] ?? "")
  if (!hasCallbacks && handler.length >= 3 && !isStreaming(handler))
    throw new RuntimeError(
      "Runtime.CallbackHandlerDeprecated",
      "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this function to use a supported handler signature to use Node.js 24 or later. For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.",
    )
  return { handler, isStreamed: isStreaming(handler) }
}

/** Not awaited by the module: a process in which nothing is left to do then ends like any other. */
const run = async () => {
  try {
    const { handler, isStreamed } = await load()
    if (env["AWS_LAMBDA_INITIALIZATION_TYPE"] === "snap-start") await client.restored()
    for (;;) {
      const { headers, payload } = await client.next()
      const context = toContext(headers, env)
      const id = context.awsRequestId
      const response = isStreamed ? new ResponseStream(client, id, highWaterMarkOf(handler)) : undefined
      current = { id, stream: response }
      log.requestId = id
      log.tenantId = context.tenantId
      const trace = headers["lambda-runtime-trace-id"]
      if (typeof trace === "string") env["_X_AMZN_TRACE_ID"] = trace
      else delete env["_X_AMZN_TRACE_ID"]
      try {
        const event: unknown = JSON.parse(payload)
        if (response !== undefined) await stream(handler, event, context, response)
        else await respond(id, await (hasCallbacks ? callBack(handler, event, context) : handler(event, context)))
      } catch (error) {
        if (isEnding) break
        log.error("Invoke Error", error)
        await fail(error)
      }
    }
  } catch (error) {
    await end(current === undefined ? "Uncaught Exception" : "Invoke Error", error, UNCAUGHT_EXIT)
  }
}

offerStreaming()
void run()
