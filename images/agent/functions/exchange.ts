/** HTTP/1.1 as the Lambda APIs in a guest speak it: routes, answers and refusals as JSON, and a long poll. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { Refusal } from "./refusal.ts"

/** One request and what answers it; `id` is the path's variable part. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly id: string
}

export type Route = (exchange: Exchange) => void | Promise<void>

/** A cause of an X-Ray error may be a megabyte in a header, and an error in a trailer needs room too. */
const MAX_HEADER_BYTES = 2 * 1024 * 1024

/** A server of these routes (`GET /a/*` has one variable part), for connections that whoever listens gives it. */
export const createExchangeServer = (routes: Readonly<Record<string, Route>>): Server => {
  const server = createServer({ maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: 0, keepAliveTimeout: 0 })
  server.on("request", (request, response) => {
    const path = (request.url ?? "/").split("?", 1)[0] ?? "/"
    const [shape, id] = shapeOf(path)
    const route = routes[`${request.method} ${shape}`]
    // A client that is gone has heard its own reasons.
    response.on("error", () => {})
    if (route === undefined) {
      const isOtherMethod = Object.keys(routes).some((key) => key.endsWith(` ${shape}`))
      return refuse(request, response, notThere(isOtherMethod, path))
    }
    Promise.try(route, { request, response, id }).catch((error: unknown) => refuse(request, response, error))
  })
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    if (!socket.writable) return socket.destroy()
    const [status, type, message] =
      error.code === "HPE_HEADER_OVERFLOW"
        ? ["431 Request Header Fields Too Large", "RequestHeaderFieldsTooLarge", "The request's headers are too large."]
        : error.code === "HPE_INVALID_EOF_STATE"
          ? ["400 Bad Request", "TruncatedHTTPRequest", "HTTP request detected as truncated"]
          : ["400 Bad Request", "MalformedHTTPRequest", "The request is not HTTP/1.1."]
    const body = toJson(type, message)
    const head = `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\nconnection: close`
    return socket.end(`${head}\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
  })
  return server
}

const shapeOf = (path: string): [shape: string, id: string] => {
  const [, before, id, after] = /^(.*\/invocation\/)([^/]+)(\/(?:response|error))$/.exec(path) ?? []
  return before === undefined ? [path, ""] : [`${before}*${after}`, decoded(id ?? "")]
}

const decoded = (id: string) => {
  try {
    return decodeURIComponent(id)
  } catch {
    return id
  }
}

const notThere = (isOtherMethod: boolean, path: string) =>
  isOtherMethod
    ? new Refusal(405, "MethodNotAllowed", `${path} has no such method.`)
    : new Refusal(404, "NotFound", `There is no ${path}.`)

const toJson = (errorType: string, errorMessage: string) => `${JSON.stringify({ errorMessage, errorType })}\n`

const refuse = (request: IncomingMessage, response: ServerResponse, error: unknown) => {
  if (response.headersSent || response.destroyed) return void response.destroy()
  const { status, errorType, message } =
    error instanceof Refusal ? error : new Refusal(500, "InternalServerError", "Internal Server Error")
  // What is still sent is heard and thrown away: else its client would hear of a broken pipe, and of no reason.
  request.resume()
  return answer(response, status, toJson(errorType, message))
}

/** Answers with JSON, or with what says it is something else. */
export const answer = (
  response: ServerResponse,
  status: number,
  body: string | Buffer,
  headers: Readonly<Record<string, string>> = {},
): void => {
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    ...headers,
  })
  response.end(body)
}

export const ACCEPTED = `${JSON.stringify({ status: "OK" })}\n`

/** Text for a header: its UTF-8 bytes, one line. */
export const toHeader = (text: string): string =>
  Buffer.from(text.replaceAll(/[\r\n\0]/g, " "), "utf8").toString("latin1")
