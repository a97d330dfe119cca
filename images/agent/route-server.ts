/** The agent's HTTP/2, of what is streamed: one handler for each method and path, errors as answers in words. */
import {
  constants,
  createServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from "node:http2"

/** Answers the request, unless it leaves that to the server: with what it resolves with, or nothing, as JSON. */
export type Handler = (request: Http2ServerRequest, response: Http2ServerResponse, url: URL) => Promise<unknown>

/** A server of routes (`GET /processes/*`), for those who are the host. It listens nowhere yet. */
export const createRouteServer = (
  routes: Readonly<Record<string, Handler>>,
  isHost: (request: Http2ServerRequest) => boolean,
): Http2Server =>
  createServer((request, response) => {
    const url = new URL(request.url, "http://agent")
    const shape = url.pathname.replace(/^\/processes\/[^/]+/, "/processes/*")
    const handler = routes[`${request.method} ${shape}`]
    const { stream } = response
    const answer = (status: number, body: unknown) => {
      if (stream.destroyed) return
      if (!response.headersSent) {
        response.writeHead(status, { "content-type": "application/json" })
        response.end(JSON.stringify(body))
        // It was begun already: what failed then is cut off, and not left to be waited for.
      } else if (status !== 200) stream.close(constants.NGHTTP2_INTERNAL_ERROR)
    }
    if (!isHost(request)) answer(401, { message: "unauthorized" })
    else if (handler === undefined) answer(404, { message: "There is no such route" })
    else
      handler(request, response, url).then(
        (body) => answer(200, body ?? {}),
        (error: unknown) => {
          const { message, code } =
            error instanceof Error ? (error as NodeJS.ErrnoException) : { message: String(error) }
          answer(400, { message, code })
        },
      )
  })
