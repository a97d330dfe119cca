/**
 * What the runtime asks of the agent and tells it: events by a channel, all else by the Runtime API. With Node's functions as they were
 * before any module could replace them.
 */
import { Agent, request, type ClientRequest, type IncomingMessage } from "node:http"
import { openChannel, type Channel, type Event } from "./channel.ts"
import { toErrorBody } from "./failure.ts"

const ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"

/** `ahead`: a channel that was opened before there was a function. */
export const createClient = (address: string, ahead?: Channel) => {
  const [hostname = "127.0.0.1", port = "80"] = address.split(":")
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  let channel = ahead?.address === address && !ahead.isOver() ? ahead : undefined
  const open = (method: string, path: string, headers: Record<string, string | string[] | number> = {}) =>
    request({ hostname, port, agent, method, path: `/2018-06-01/runtime/${path}`, headers })

  const post = async (path: string, body: string, headers: Record<string, string> = {}): Promise<void> => {
    const length = Buffer.byteLength(body)
    const posted = open("POST", path, { "Content-Type": "application/json", "Content-Length": length, ...headers })
    const answered = answerOf(posted)
    posted.end(body)
    await textOf(await answered)
  }

  return {
    next(): Promise<Event> {
      channel ??= openChannel(address)
      return channel.next()
    },
    /** Answers the event in progress. */
    respond: (body: string) => channel?.respond(body),
    fail(thrown: unknown, isLast: boolean) {
      const body = toErrorBody(thrown)
      channel?.fail(headerText(body.errorType), JSON.stringify(body), isLast)
    },
    failInit(thrown: unknown) {
      const body = toErrorBody(thrown)
      return post("init/error", JSON.stringify(body), { [ERROR_TYPE]: headerText(body.errorType) })
    },
    restored(): Promise<Readonly<Record<string, string>>> {
      channel ??= openChannel(address)
      return channel.restored()
    },
    /** A response whose body is written by and by; its failure, if any, comes behind its last byte. */
    stream(id: string, contentType: string): ClientRequest {
      return open("POST", `invocation/${encodeURIComponent(id)}/response`, {
        "Content-Type": contentType,
        "Lambda-Runtime-Function-Response-Mode": "streaming",
        "Transfer-Encoding": "chunked",
        Trailer: [ERROR_TYPE, "Lambda-Runtime-Function-Error-Body"],
      })
    },
    close() {
      agent.destroy()
      channel?.close()
    },
  }
}

export type Client = ReturnType<typeof createClient>

export const trailersOf = (thrown: unknown): Record<string, string> => {
  const body = toErrorBody(thrown)
  return {
    [ERROR_TYPE]: headerText(body.errorType),
    "Lambda-Runtime-Function-Error-Body": Buffer.from(JSON.stringify(body)).toString("base64"),
  }
}

const headerText = (text: string) => text.replaceAll(/[^\t\u0020-\u007e]/g, "?")

export const answerOf = (asked: ClientRequest): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    asked.once("response", resolve).once("error", reject)
  })

export const textOf = async (answer: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = []
  for await (const chunk of answer) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString("utf8")
}
