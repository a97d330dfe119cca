import { createServer, request as plainRequest, type Server } from "node:http"
import { Agent, request as send, type RequestOptions } from "node:https"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { connect } from "node:tls"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { WebSocket, WebSocketServer } from "ws"
import { ensureCertificates } from "../../proxy/certificates.ts"
import { RouteError, type Router } from "../../proxy/route.ts"
import { openEdge, type Edge } from "../../proxy/server.ts"
import { runCommand } from "../../src/command.ts"
import { createLog } from "../../src/log.ts"
import { openTokenKeys, type StoredKey } from "../../src/tokens/keys.ts"
import { createTokens, type Tokens } from "../../src/tokens/tokens.ts"

const VM = "11111111-1111-4111-8111-111111111111"
const NAME = `${VM}.vm.localhost`
const stored: StoredKey[] = []
let directory: string
let ca: string
let tokens: Tokens
let edge: Edge
let app: Server
let appPort: number
let gate: Promise<string> | undefined
let asked = Promise.withResolvers<void>()
let asleep: RouteError | undefined

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "torpor-edge-"))
  const certificates = await ensureCertificates(directory, "localhost")
  ca = await readFile(certificates.caFile ?? "", "utf8")
  tokens = createTokens(
    await openTokenKeys({ load: () => Promise.resolve(stored), insert: async (key) => void stored.push(key) }),
  )
  app = createServer((request, response) => {
    if (request.url === "/events") {
      response.writeHead(200, { "content-type": "text/event-stream" }).write("data: first\n\n")
      return
    }
    response.setHeader("x-aws-proxy-forged", "1").end(JSON.stringify(request.headers))
  })
  new WebSocketServer({ server: app, handleProtocols: (offered) => (offered.has("chat") ? "chat" : false) }).on(
    "connection",
    (socket) => socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary })),
  )
  app.listen(0, "127.0.0.1")
  await once(app, "listening")
  appPort = (app.address() as AddressInfo).port
  const router: Router = {
    find: (host) =>
      host !== NAME
        ? undefined
        : {
            kind: "vm",
            vmId: VM,
            activity: { open: 0, lastAt: 0 },
            get address() {
              return gate === undefined && asleep === undefined ? "127.0.0.1" : undefined
            },
            awake: () => (
              asked.resolve(),
              asleep === undefined ? (gate ?? Promise.resolve("127.0.0.1")) : Promise.reject(asleep)
            ),
          },
  }
  edge = await openEdge({
    router,
    tokens,
    ...certificates,
    address: "127.0.0.1",
    port: 0,
    maxRequestsPerVm: 100,
    log: createLog("error"),
  })
})
afterAll(async () => {
  await edge.close(0)
  app.closeAllConnections()
  app.close()
  await rm(directory, { recursive: true })
})

const tokenFor = (
  ports: { from: number; to: number }[] = [{ from: 1, to: 65535 }],
  expirationSeconds = 60,
  vmId = VM,
) => tokens.mint({ vmId, ports, expirationSeconds })
const begin = async (path: string, headers: Record<string, string> = {}, more: RequestOptions = {}) => {
  const agent = new Agent({ ca })
  const request = send(`https://${NAME}:${edge.port}${path}`, {
    agent,
    headers: { "x-aws-proxy-auth": await tokenFor(), "x-aws-proxy-port": String(appPort), ...headers },
    ...more,
  }).end()
  const [response] = (await once(request, "response")) as [
    Parameters<typeof text>[0] & import("node:http").IncomingMessage,
  ]
  return { response, close: () => (request.destroy(), agent.destroy()) }
}
const get = async (path: string, headers: Record<string, string> = {}) => {
  const { response, close } = await begin(path, headers)
  const body = await text(response)
  close()
  return { status: response.statusCode, body, headers: response.headers }
}

describe("The edge", () => {
  test("hands a request to the VM's port without its own headers, and its answer back without forged ones", async () => {
    const { status, body, headers } = await get("/", { "x-aws-proxy-anything": "1" })
    expect(status).toBe(200)
    const seen = JSON.parse(body) as Record<string, string>
    expect(Object.keys(seen).filter((name) => name.startsWith("x-aws-proxy-"))).toEqual([])
    expect(Object.keys(headers).filter((name) => name.startsWith("x-aws-proxy-"))).toEqual([])
    expect(seen["x-amzn-requestid"]).toBe(headers["x-amzn-requestid"])
  })

  test.for([
    ["no token", { "x-aws-proxy-auth": "" }, 403, "Request missing authentication"],
    ["no number as its port", { "x-aws-proxy-port": "http" }, 400, "The port must be a number from 1 to 65535"],
    ["port 0", { "x-aws-proxy-port": "0" }, 400, "The port must be a number from 1 to 65535"],
    ["a port nobody listens on", { "x-aws-proxy-port": "1" }, 502, ""],
  ] as const)("answers a request with %s as AWS does", async ([, headers, status, body]) => {
    expect(await get("/", headers)).toMatchObject({ status, body })
  })

  test("refuses a token of another VM, an expired one, another port's, and an unsigned one", async () => {
    const refused = async (token: string) => (await get("/", { "x-aws-proxy-auth": token })).body
    expect(await refused(await tokenFor(undefined, 60, "22222222-2222-4222-8222-222222222222"))).toBe(
      "Token authentication failed",
    )
    expect(await refused(await tokenFor(undefined, -1))).not.toContain("host")
    expect(await refused(await tokenFor([{ from: 1, to: 2 }]))).toBe("Access to port denied")
    const [, claims] = (await tokenFor()).split(".")
    const unsigned = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${claims}.`
    expect((await get("/", { "x-aws-proxy-auth": unsigned })).status).toBe(403)
  })

  test("passes a server-sent event on while the answer is still open", async () => {
    const { response, close } = await begin("/events")
    const [chunk] = (await once(response, "data")) as [Buffer]
    expect(chunk.toString()).toBe("data: first\n\n")
    expect(response.complete).toBe(false)
    close()
  })

  test("holds a request until its VM is awake", async () => {
    const wake = Promise.withResolvers<string>()
    gate = wake.promise
    asked = Promise.withResolvers<void>()
    const answer = get("/").finally(() => (gate = undefined))
    await asked.promise
    wake.resolve("127.0.0.1")
    expect((await answer).status).toBe(200)
  })

  test("answers an empty 502 for a VM that may not be woken", async () => {
    asleep = new RouteError("SUSPENDED")
    const answer = await get("/").finally(() => (asleep = undefined))
    expect(answer).toMatchObject({ status: 502, body: "" })
  })

  test("refuses a request whose length is said twice, or whose Host is", async () => {
    const token = await tokenFor()
    for (const more of ["Content-Length: 3\r\nTransfer-Encoding: chunked", `Host: ${NAME}`]) {
      const socket = connect({ host: "127.0.0.1", port: edge.port, servername: NAME, ca })
      socket.end(`POST / HTTP/1.1\r\nHost: ${NAME}\r\nX-aws-proxy-auth: ${token}\r\n${more}\r\n\r\n0\r\n\r\n`)
      expect(await text(socket), more).toMatch(/^HTTP\/1.1 400 /)
    }
  })

  test("speaks WebSocket, with token and port in headers or in subprotocols", async () => {
    const token = await tokenFor()
    const at = `wss://${NAME}:${edge.port}/`
    const echo = async (socket: WebSocket) => {
      await once(socket, "open")
      socket.send("hello")
      const [data] = (await once(socket, "message")) as [Buffer]
      const { protocol } = socket
      socket.close()
      await once(socket, "close")
      return [data.toString(), protocol]
    }
    const headers = { "x-aws-proxy-auth": token, "x-aws-proxy-port": String(appPort) }
    expect(await echo(new WebSocket(at, ["chat"], { ca, headers }))).toEqual(["hello", "chat"])
    const offered = ["lambda-microvms", `lambda-microvms.authentication.${token}`, `lambda-microvms.port.${appPort}`]
    expect(await echo(new WebSocket(at, offered, { ca }))).toEqual(["hello", "lambda-microvms"])
    const [error] = (await once(new WebSocket(at, { ca }), "error")) as [Error]
    expect(error.message).toContain("403")
  })

  test("shows a certificate that curl takes for its own names and no other CA vouches for", async () => {
    const url = `https://${NAME}:${edge.port}/`
    const curl = (...args: string[]) =>
      runCommand("curl", ["-sS", "-o", "/dev/null", "-w", "%{http_code}", ...args, url], {
        signal: AbortSignal.timeout(10_000),
      })
    const resolve = ["--resolve", `${NAME}:${edge.port}:127.0.0.1`]
    expect(await curl(...resolve, "--cacert", join(directory, "ca.pem"))).toBe("403")
    await expect(curl(...resolve)).rejects.toThrow()
    const kept = await ensureCertificates(directory, "localhost")
    expect((await ensureCertificates(directory, "localhost")).certificate).toBe(kept.certificate)
  })

  test("speaks TLS only", async () => {
    const request = plainRequest({ host: "127.0.0.1", port: edge.port }).end()
    await expect(once(request, "response")).rejects.toThrow()
  })
})
