/** The Extensions API: programs beside the runtime that hear of each invocation and of the environment's end. */
import { randomUUID } from "node:crypto"
import type { IncomingMessage, ServerResponse } from "node:http"
import { readBody } from "./body.ts"
import { ACCEPTED, answer, type Exchange, type Route } from "./exchange.ts"
import type { Failure, InvocationEvent } from "./invocation.ts"
import { Refusal } from "./refusal.ts"

export interface FunctionIdentity {
  readonly functionName: string
  readonly functionVersion: string
  readonly handler: string
  readonly accountId: string
}

export type ShutdownReason = "SPINDOWN" | "TIMEOUT" | "FAILURE"

export interface Extension {
  readonly id: string
  readonly name: string
  readonly events: ReadonlySet<string>
  /** `Ready` asks for its next event, `Running` was given one, `Failed` has said that it cannot go on. */
  state: "Registered" | "Ready" | "Running" | "Failed"
  /** Its open question. */
  asking: ServerResponse | undefined
  /** What it is told when it asks again; the environment's end before an invocation. */
  next: object | undefined
}

export interface ExtensionEvents {
  onMoved(): void
  onRegistered(extension: Extension): void
  onFailure(failure: Failure): void
}

export const MAX_EXTENSIONS = 10
const MAX_NAME_CHARACTERS = 128
const MAX_BODY_BYTES = 64 * 1024
const MAX_FAILURE_BYTES = 256 * 1024
const IDENTIFIER = "lambda-extension-identifier"

/** The extensions of one life. `external` are the files that were started, which may hear of the end; others are part of the runtime. */
export const createExtensions = (
  identity: FunctionIdentity,
  external: readonly string[],
  isOpen: () => boolean,
  events: ExtensionEvents,
) => {
  const all = new Map<string, Extension>()

  const register = async ({ request, response }: Exchange) => {
    const name = headerOf(request, "lambda-extension-name")
    if (name === "" || name.length > MAX_NAME_CHARACTERS)
      throw forbidden("InvalidExtensionName", name === "" ? "Empty extension name" : "The extension's name is too long")
    const asked = await eventsIn(request)
    if (!isOpen()) throw forbidden("RegistrationClosed", "Extension registration closed already")
    if ([...all.values()].some((one) => one.name === name))
      throw forbidden("InvalidExtensionState", `Extension ${name} is registered already`)
    if (all.size >= MAX_EXTENSIONS) throw forbidden("TooManyExtensions", `Extension limit (${MAX_EXTENSIONS}) reached`)
    const known = external.includes(name) ? ["INVOKE", "SHUTDOWN"] : ["INVOKE"]
    const wrong = asked.find((event) => !known.includes(event))
    if (wrong !== undefined) throw forbidden("InvalidEventType", `${wrong}: event type is not supported`)
    const extension: Extension = {
      id: randomUUID(),
      name,
      events: new Set(asked),
      state: "Registered",
      asking: undefined,
      next: undefined,
    }
    all.set(extension.id, extension)
    events.onRegistered(extension)
    const { accountId, ...rest } = identity
    const features = headerOf(request, "lambda-extension-accept-feature").split(",")
    const body = features.some((feature) => feature.trim() === "accountId") ? { ...rest, accountId } : rest
    answer(response, 200, JSON.stringify(body), { "Lambda-Extension-Identifier": extension.id })
  }

  const find = (request: IncomingMessage): Extension => {
    const id = headerOf(request, IDENTIFIER)
    if (id === "") throw forbidden("MissingExtensionIdentifier", `Missing Lambda-Extension-Identifier header`)
    if (!/^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i.test(id))
      throw forbidden("InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier")
    const extension = all.get(id.toLowerCase())
    if (extension === undefined) throw forbidden("UnknownExtensionIdentifier", `Unknown extension ${id}`)
    return extension
  }

  const give = (extension: Extension) => {
    const { asking, next } = extension
    if (asking === undefined || next === undefined) return
    extension.asking = extension.next = undefined
    extension.state = "Running"
    answer(asking, 200, JSON.stringify(next), { "Lambda-Extension-Event-Identifier": randomUUID() })
  }

  const ask = ({ request, response }: Exchange) => {
    const extension = find(request)
    if (extension.state === "Failed") throw forbiddenState(extension, "Ready")
    extension.asking?.destroy()
    extension.asking = response
    extension.state = "Ready"
    response.once("close", () => {
      if (extension.asking === response) extension.asking = undefined
    })
    give(extension)
    events.onMoved()
  }

  const fail =
    (kind: "InitError" | "ExitError"): Route =>
    async ({ request, response }) => {
      const extension = find(request)
      const errorType = headerOf(request, "lambda-extension-function-error-type")
      if (errorType === "") throw forbidden("MissingHeader", "Lambda-Extension-Function-Error-Type not found")
      const isLate = kind === "InitError" && extension.state !== "Registered"
      if (isLate || extension.state === "Failed") throw forbiddenState(extension, kind)
      extension.state = "Failed"
      await readBody(request, MAX_FAILURE_BYTES).catch(() => undefined)
      const errorMessage = `RequestId: ${randomUUID()} Error: extension ${extension.name}: ${errorType.slice(0, 512)}`
      const body = Buffer.from(JSON.stringify({ errorType: `Extension.${kind}`, errorMessage }))
      answer(response, 202, ACCEPTED)
      events.onFailure({ errorType: `Extension.${kind}`, body })
    }

  const deliver = (event: "INVOKE" | "SHUTDOWN", content: object) => {
    for (const extension of all.values())
      if (extension.events.has(event) && extension.state !== "Failed") {
        extension.next = { eventType: event, ...content }
        give(extension)
      }
  }

  const routes: Record<string, Route> = {
    "POST /2020-01-01/extension/register": register,
    "GET /2020-01-01/extension/event/next": ask,
    "POST /2020-01-01/extension/init/error": fail("InitError"),
    "POST /2020-01-01/extension/exit/error": fail("ExitError"),
  }

  return {
    routes,
    find,
    get areThere() {
      return all.size > 0
    },
    /** All of them have what they were given behind them. */
    get areWaiting() {
      return [...all.values()].every(({ state, next }) => state === "Ready" && next === undefined)
    },
    /** Each that was started has registered: then the runtime is started. */
    get areRegistered() {
      const names = new Set([...all.values()].map(({ name }) => name))
      return external.every((name) => names.has(name))
    },
    invoke(event: InvocationEvent) {
      const { deadlineMs, requestId, functionArn, traceId } = event
      const tracing = { type: "X-Amzn-Trace-Id", value: traceId ?? "" }
      deliver("INVOKE", { deadlineMs, requestId, invokedFunctionArn: functionArn, tracing })
    },
    shutdown(reason: ShutdownReason, deadlineMs: number) {
      for (const extension of all.values()) extension.next = undefined
      deliver("SHUTDOWN", { shutdownReason: reason, deadlineMs })
    },
  }
}

const forbidden = (name: string, message: string) => new Refusal(403, `Extension.${name}`, message)

const forbiddenState = ({ name, state }: Extension, to: string) =>
  forbidden(
    "InvalidExtensionState",
    `State transition from ${state} to ${to} failed for extension ${name}. Error: State transition is not allowed`,
  )

const headerOf = (request: IncomingMessage, name: string) => String(request.headers[name] ?? "")

const eventsIn = async (request: IncomingMessage): Promise<string[]> => {
  const malformed = (why: string) => forbidden("InvalidRequestFormat", why)
  const body = await readBody(request, MAX_BODY_BYTES).catch(() => undefined)
  if (body === undefined) throw malformed("The body is missing or too large")
  let content: unknown
  try {
    content = JSON.parse(body.toString("utf8"))
  } catch (error) {
    throw malformed((error as Error).message)
  }
  const asked = (content as { events?: unknown } | null)?.events ?? []
  if (!Array.isArray(asked) || !asked.every((event) => typeof event === "string"))
    throw malformed("events: a list of event types is expected")
  return asked
}
