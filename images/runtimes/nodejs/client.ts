/** The Runtime API as its client: over one connection, with Node's functions as they were before any module could replace them. */
import { Agent, request, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http"
import { toErrorBody } from "./failure.ts"

export interface Event {
  readonly headers: IncomingHttpHeaders
  readonly payload: string
}

const ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"

export const createClient = (address: string) => {
  const [hostname = "127.0.0.1", port = "80"] = address.split(":")
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
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
    async next(): Promise<Event> {
      const asked = open("GET", "invocation/next")
      asked.end()
      const answer = await answerOf(asked)
      const payload = await textOf(answer)
      if (answer.statusCode !== 200) throw new Error(`The next event was refused: ${payload}`)
      return { headers: answer.headers, payload }
    },
    respond: (id: string, body: string) => post(`invocation/${encodeURIComponent(id)}/response`, body),
    fail(id: string, thrown: unknown) {
      const body = toErrorBody(thrown)
      return post(`invocation/${encodeURIComponent(id)}/error`, JSON.stringify(body), {
        [ERROR_TYPE]: headerText(body.errorType),
      })
    },
    failInit(thrown: unknown) {
      const body = toErrorBody(thrown)
      return post("init/error", JSON.stringify(body), { [ERROR_TYPE]: headerText(body.errorType) })
    },
    /** Resolves when the environment has been restored from its snapshot, with the variables that are others now. */
    async restored(): Promise<Readonly<Record<string, string>>> {
      const asked = open("GET", "restore/next")
      asked.end()
      const told = await textOf(await answerOf(asked))
      return told === "" ? {} : (JSON.parse(told) as Record<string, string>)
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
    close: () => agent.destroy(),
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
