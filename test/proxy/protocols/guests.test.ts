/** What an application speaks is found out: HTTP/2 in clear, TLS of either version, and HTTP/1.1 that isn't disturbed. */
import { execFile } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { createServer as createPlain, type RequestListener } from "node:http"
import { createSecureServer, createServer as createHttp2 } from "node:http2"
import { createServer as createTls } from "node:https"
import { connect, createServer as createPort, type Server as PortServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { WebSocket, WebSocketServer } from "ws"
import { openRawApp } from "../raw-app.ts"
import { listen, openTestEdge, type TestEdge } from "../test-edge.ts"
import { answerOf, connectHttp2, type Http2Client } from "./http2-client.ts"

let edge: TestEdge
let client: Http2Client
let directory: string
let tls: { key: string; cert: string }
beforeAll(async () => {
  edge = await openTestEdge()
  client = await connectHttp2(edge)
  directory = await mkdtemp(join(tmpdir(), "torpor-self-signed-"))
  const [keyFile, certFile] = [join(directory, "key.pem"), join(directory, "cert.pem")]
  await promisify(execFile)("openssl", [
    ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=app".split(" "),
    "-keyout",
    keyFile,
    "-out",
    certFile,
  ])
  tls = { key: await readFile(keyFile, "utf8"), cert: await readFile(certFile, "utf8") }
})
afterAll(async () => {
  await client[Symbol.asyncDispose]()
  await edge[Symbol.asyncDispose]()
  await rm(directory, { recursive: true })
})

/** What it speaks, and what it was asked. */
const echo: RequestListener = async (request, response) => {
  const body = await text(request)
  response.end([request.httpVersion, "encrypted" in request.socket, request.method, body].join(" "))
}
const served = async (server: PortServer) => {
  const sockets = new Set<{ destroy(): void }>()
  server.on("connection", (socket) => void sockets.add(socket))
  return {
    port: await listen(server),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, "close")
    },
  }
}
const post = async (port: number, body: string, headers: Record<string, string> = {}) => {
  const stream = client.open(port, { ":method": "POST", ...headers }, { endStream: false })
  stream.end(body)
  return answerOf(stream)
}

describe.for([
  ["HTTP/1.1 in TLS", () => createTls(tls, echo), "1.1 true"],
  ["HTTP/2 or HTTP/1.1 in TLS", () => createSecureServer({ ...tls, allowHTTP1: true }, echo as never), "2.0 true"],
  ["HTTP/2 in TLS alone", () => createSecureServer(tls, echo as never), "2.0 true"],
  ["HTTP/2 in clear", () => createHttp2(echo as never), "2.0 false"],
  ["HTTP/1.1", () => createPlain(echo), "1.1 false"],
] as const)("An application that speaks %s", ([, create, speaks]) => {
  test("is spoken to so, whoever asks first: a request, an upload, either version of a client", async () => {
    const firsts = [
      async (port: number) => (await edge.get({ port })).body,
      async (port: number) => (await post(port, "some")).body,
      async (port: number) => (await client.get(port)).body,
    ]
    for (const first of firsts) {
      await using app = await served(create())
      await first(app.port)
      expect(await edge.get(app)).toMatchObject({ status: 200, body: `${speaks} GET ` })
      expect((await post(app.port, "some")).body).toBe(`${speaks} POST some`)
      expect((await client.get(app.port, { ":method": "DELETE" })).body).toBe(`${speaks} DELETE `)
    }
  })
})

describe("An application", () => {
  test("in TLS that tells HTTP so in HTTP, as Go's and nginx do, is understood; one that means its 400 is too", async () => {
    await using secure = await served(createTls(tls, echo))
    const front = createPort((socket) => {
      socket
        .on("error", () => {})
        .once("data", (data) => {
          if (data[0] !== 0x16) {
            socket.end("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
            return
          }
          const behind = connect(secure.port, "127.0.0.1").on("error", () => {})
          behind.write(data)
          socket.pipe(behind).pipe(socket)
        })
    })
    await using app = await served(front)
    expect(await edge.get(app)).toMatchObject({ status: 200, body: "1.1 true GET " })
    await using means = await openRawApp((socket) => socket.end("HTTP/1.1 400 No\r\nContent-Length: 4\r\n\r\nmean"))
    expect(await edge.get(means)).toMatchObject({ status: 400, body: "mean" })
    expect(means.received).toHaveLength(1)
  })

  test("gets HTTP/2 in clear when the client asks for it, over either version", async () => {
    await using app = await served(createHttp2(echo as never))
    const headers = { "x-aws-proxy-force-h2": "true" }
    expect((await client.get(app.port, headers)).body).toBe("2.0 false GET ")
    const answer = await edge.get(app, {
      headers: { ...headers, "x-aws-proxy-auth": edge.vm.token, "x-aws-proxy-port": String(app.port) },
    })
    expect(answer.body).toBe("2.0 false GET ")
  })

  test("of HTTP/1.1 is asked nothing once it has answered a request without a body", async () => {
    await using app = await openRawApp((socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    await edge.get(app)
    await post(app.port, "some")
    expect(app.received.map((said) => said.slice(0, 5))).toEqual(["GET /", "POST "])
  })

  test("in TLS has its WebSockets", async () => {
    const server = createTls(tls, echo)
    const sockets = new WebSocketServer({ server })
    sockets.on("connection", (socket) => socket.on("message", (data: Buffer) => socket.send(data.toString())))
    await using app = await served(server)
    for (let round = 0; round < 2; round++) {
      const socket = new WebSocket(`wss://${edge.vm.name}:${edge.edge.port}/`, {
        ca: edge.ca,
        headers: { "x-aws-proxy-auth": edge.vm.token, "x-aws-proxy-port": String(app.port) },
      })
      await once(socket, "open")
      socket.send("hello")
      expect(String((await once(socket, "message"))[0])).toBe("hello")
      socket.terminate()
    }
  })

  test("that is started again speaking otherwise is reached again", async () => {
    const first = await served(createPlain(echo))
    expect((await edge.get(first)).body).toBe("1.1 false GET ")
    await first[Symbol.asyncDispose]()
    const second = createTls(tls, echo)
    second.listen(first.port, "127.0.0.1")
    await once(second, "listening")
    expect((await edge.get(first)).status).toBe(502)
    expect((await edge.get(first)).body).toBe("1.1 true GET ")
    second.closeAllConnections()
    second.close()
  })
})
