import { Agent, request as send } from "node:https"
import { text } from "node:stream/consumers"

export interface EndpointAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

export interface Endpoint {
  get(path: string, headers?: Readonly<Record<string, string>>): Promise<EndpointAnswer>
  close(): void
}

/** A client of a MicroVM's own URL, or without a token of a function's, trusting the installation's CA. The caller closes it. */
export const createEndpoint = (name: string, token: string | undefined, ca: string): Endpoint => {
  const agent = new Agent({ keepAlive: true, ca })
  const get: Endpoint["get"] = (path, headers = {}) =>
    new Promise((resolve, reject) => {
      const request = send(
        `https://${name}${path}`,
        { agent, headers: { ...(token === undefined ? {} : { "x-aws-proxy-auth": token }), ...headers } },
        (response) => {
          text(response).then(
            (body) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
            reject,
          )
        },
      )
      request
        .once("error", (error: NodeJS.ErrnoException) => {
          // The server may close a connection at rest in the moment that it is used again: RFC 9112, 9.3.1.
          if (request.reusedSocket && error.code === "ECONNRESET") resolve(get(path, headers))
          else reject(error)
        })
        .end()
    })
  return { get, close: () => agent.destroy() }
}
