import { once } from "node:events"
import type { Server } from "node:http"
import type { AddressInfo } from "node:net"
import { createAdaptorServer } from "@hono/node-server"
import type { Hono } from "hono"
import { OperatorError } from "../errors.ts"
import type { ApiEnv } from "./aws/request-body.ts"

export interface ApiAddress {
  readonly address: string
  /** 0 takes any free one. */
  readonly port: number
}

export interface ApiServer extends ApiAddress, AsyncDisposable {
  /** `http://address:port` */
  readonly url: string
  /** Takes no more requests, and cuts those that still run after `graceMs`. */
  close(graceMs: number): Promise<void>
}

/** A connection on which nothing moves is dropped; a long upload may take as long as it needs. */
const idleConnectionMs = 120_000

const explain = (error: NodeJS.ErrnoException, { address, port }: ApiAddress) => {
  if (error.code === "EADDRINUSE") {
    return new OperatorError(
      `The API's port ${port} on ${address} is in use; stop what listens there or set TORPOR_API_PORT.`,
    )
  }
  if (error.code === "EADDRNOTAVAIL")
    return new OperatorError(`This machine has no address ${address}; set TORPOR_API_ADDRESS.`)
  return error
}

/** Serves the API on an address and port. The caller closes it. Throws an OperatorError when the port cannot be had. */
export const serveApi = async (app: Hono<ApiEnv>, at: ApiAddress): Promise<ApiServer> => {
  const server = createAdaptorServer({
    fetch: app.fetch,
    overrideGlobalObjects: false,
    serverOptions: { requestTimeout: 0, headersTimeout: 20_000, keepAliveTimeout: 65_000, maxHeaderSize: 16 * 1024 },
  }) as Server
  server.setTimeout(idleConnectionMs)
  // The route itself says `100 Continue`, once it wants the body.
  server.on("checkContinue", (request, response) => server.emit("request", request, response))
  server.listen(at.port, at.address)
  try {
    await once(server, "listening")
  } catch (error) {
    throw explain(error as NodeJS.ErrnoException, at)
  }
  const { port } = server.address() as AddressInfo
  let closing: Promise<void> | undefined
  // A kept-alive connection would outlast its last answer and hold the close up.
  server.on("request", (_request, response) => {
    response.once("close", () => {
      if (closing) setImmediate(() => server.closeIdleConnections())
    })
  })
  const close = (graceMs: number) =>
    (closing ??= new Promise<void>((resolve) => {
      const cut = setTimeout(() => server.closeAllConnections(), graceMs)
      server.close(() => {
        clearTimeout(cut)
        resolve()
      })
      server.closeIdleConnections()
    }))
  return {
    address: at.address,
    port,
    url: `http://${at.address.includes(":") ? `[${at.address}]` : at.address}:${port}`,
    close,
    [Symbol.asyncDispose]: () => close(0),
  }
}
