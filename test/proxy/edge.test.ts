import { once } from "node:events"
import { createServer, request as plainRequest, type IncomingMessage, type Server } from "node:http"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { WebSocket, WebSocketServer } from "ws"
import { dirname } from "node:path"
import { ensureCertificates } from "../../proxy/certificates.ts"
import { RouteError, type RouteFailure } from "../../proxy/route.ts"
import { runCommand } from "../../src/command.ts"
import { eventually } from "../fixtures/eventually.ts"
import { listen, openTestEdge, type TestEdge } from "./test-edge.ts"

let edge: TestEdge
let app: Server
let port: number
beforeAll(async () => {
  edge = await openTestEdge()
  app = createServer((request, response) => response.end(request.url))
  new WebSocketServer({ server: app, handleProtocols: (offered) => (offered.has("chat") ? "chat" : false) }).on(
    "connection",
    (socket) => socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary })),
  )
  port = await listen(app)
})
afterAll(async () => {
  await edge[Symbol.asyncDispose]()
  app.close()
})

const get = (headers: Record<string, string> = {}) => edge.get({ port }, { headers })
const mint = (
  ports: { from: number; to: number }[] = [{ from: 1, to: 65535 }],
  expirationSeconds = 60,
  vmId = edge.vm.id,
) => edge.tokens.mint({ vmId, ports, expirationSeconds })

describe("The edge", () => {
  test.for([
    ["no token", { "x-aws-proxy-auth": "" }, 403, "Request missing authentication", "UNAUTHORIZED"],
    ["a token that is none", { "x-aws-proxy-auth": "x.y.z" }, 403, "Request missing authentication", "UNAUTHORIZED"],
    ["no number as its port", { "x-aws-proxy-port": "http" }, 400, /^The port must be a number/, "BAD_REQUEST"],
    ["port 0", { "x-aws-proxy-port": "0" }, 400, /^The port must be a number/, "BAD_REQUEST"],
    ["two ports", { "x-aws-proxy-port": "1, 2" }, 400, /^The port must be a number/, "BAD_REQUEST"],
    ["a port nobody listens on", { "x-aws-proxy-port": "1" }, 502, "", "APP_CONNECT_FAILED"],
  ] as const)("answers a request with %s as AWS does", async ([, headers, status, body, error]) => {
    const answer = await get(headers)
    expect(answer).toMatchObject({ status, headers: { "x-aws-proxy-error": error, "content-type": /^text\/plain/ } })
    if (typeof body === "string") expect(answer.body).toBe(body)
    else expect(answer.body).toMatch(body)
  })

  test("refuses a token of another VM, an expired one, another port's, and an unsigned one", async () => {
    const refused = async (token: string) => (await get({ "x-aws-proxy-auth": token })).body
    const other = await edge.addVm()
    expect(await refused(other.token)).toBe("Token authentication failed")
    expect(await refused(await mint(undefined, -1))).toBe("Token authentication failed")
    expect(await refused(await mint([{ from: 1, to: 2 }]))).toBe("Access to port denied")
    const [, claims] = (await mint()).split(".")
    const unsigned = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${claims}.`
    expect(await refused(unsigned)).toBe("Request missing authentication")
  })

  test("lets nobody in to a VM that nothing from outside may reach", async () => {
    const closed = await edge.addVm()
    closed.isOpen = false
    const { status, body } = await edge.get({ port, vm: closed })
    expect([status, body]).toEqual([403, "Access to port denied"])
  })

  test("refuses a name that leads nowhere like a token that leads elsewhere", async () => {
    const nowhere = { ...edge.vm, name: `${crypto.randomUUID()}.vm.localhost` }
    const { status, body } = await edge.get({ port, vm: nowhere })
    expect([status, body]).toEqual([403, "Token authentication failed"])
  })

  test("holds every request until its VM is awake", async () => {
    const vm = await edge.addVm()
    const awake = Promise.withResolvers<string>()
    let asked = 0
    const all = Promise.withResolvers<void>()
    Object.assign(vm, {
      address: undefined,
      awake: () => {
        if (++asked === 3) all.resolve()
        return awake.promise
      },
    })
    const answers = ["/1", "/2", "/3"].map((path) => edge.get({ port, path, vm }))
    await all.promise
    expect(vm.activity.open).toBe(3)
    awake.resolve("127.0.0.1")
    expect((await Promise.all(answers)).map(({ body }) => body)).toEqual(["/1", "/2", "/3"])
  })

  test.for<RouteFailure>(["TERMINATED", "SUSPENDED", "RESUME_FAILED"])(
    "answers an empty 502 for a VM that is %s",
    async (failure) => {
      const vm = await edge.addVm()
      Object.assign(vm, { address: undefined, awake: () => Promise.reject(new RouteError(failure)) })
      expect(await edge.get({ port, vm })).toMatchObject({
        status: 502,
        body: "",
        headers: { "x-aws-proxy-error": "MICROVM_CONNECT_FAILED" },
      })
      await eventually(() => expect(vm.activity.open).toBe(0))
    },
  )

  test("answers a fault of its own with a 500, and counts that request no longer", async () => {
    const vm = await edge.addVm()
    Object.assign(vm, { address: undefined, awake: () => Promise.reject(new Error("a fault")) })
    expect(await edge.get({ port, vm })).toMatchObject({
      status: 500,
      body: "Internal error",
      headers: { "x-aws-proxy-error": "INTERNAL" },
    })
    await eventually(() => expect(vm.activity.open).toBe(0))
  })

  test("passes a server-sent event on while the answer is still open", async () => {
    const events = createServer((_, response) =>
      response.writeHead(200, { "content-type": "text/event-stream" }).write("data: first\n\n"),
    )
    const [response] = (await once(edge.open({ port: await listen(events) }).end(), "response")) as [IncomingMessage]
    expect(String(await once(response, "data"))).toBe("data: first\n\n")
    expect(response.complete).toBe(false)
    response.destroy()
    events.close()
  })

  test("speaks WebSocket, with token and port in headers or in subprotocols", async () => {
    const { token, name } = edge.vm
    const { ca } = edge
    const at = `wss://${name}:${edge.edge.port}/`
    const echo = async (socket: WebSocket) => {
      await once(socket, "open")
      socket.send("hello")
      const [data] = (await once(socket, "message")) as [Buffer]
      const { protocol } = socket
      socket.close()
      await once(socket, "close")
      return [data.toString(), protocol]
    }
    const headers = { "x-aws-proxy-auth": token, "x-aws-proxy-port": String(port) }
    expect(await echo(new WebSocket(at, ["chat"], { ca, headers }))).toEqual(["hello", "chat"])
    const offered = ["lambda-microvms", `lambda-microvms.authentication.${token}`, `lambda-microvms.port.${port}`]
    expect(await echo(new WebSocket(at, offered, { ca }))).toEqual(["hello", "lambda-microvms"])
    expect(await echo(new WebSocket(at, ["chat", ...offered.toReversed()], { ca }))).toEqual(["hello", "chat"])
    const refused = async (protocols: string[]) => String(await once(new WebSocket(at, protocols, { ca }), "error"))
    expect(await refused([])).toContain("403")
    expect(await refused(offered.slice(1))).toContain("400")
    expect(await refused([...offered, "lambda-microvms.port.1"])).toContain("400")
  })

  test("shows a certificate that curl takes for its own names and no other CA vouches for", async () => {
    const url = `https://${edge.vm.name}:${edge.edge.port}/`
    const curl = (...args: string[]) =>
      runCommand("curl", ["-sS", "-o", "/dev/null", "-w", "%{http_code}", ...args, url], {
        signal: AbortSignal.timeout(60_000),
      })
    const resolve = ["--resolve", `${edge.vm.name}:${edge.edge.port}:127.0.0.1`]
    expect(await curl(...resolve, "--cacert", edge.caFile)).toBe("403")
    await expect(curl(...resolve)).rejects.toThrow()
    const directory = dirname(edge.caFile)
    const kept = await ensureCertificates(directory, "localhost")
    expect((await ensureCertificates(directory, "localhost")).certificate).toBe(kept.certificate)
  })

  test("speaks TLS only", async () => {
    const request = plainRequest({ host: "127.0.0.1", port: edge.edge.port }).end()
    await expect(once(request, "response")).rejects.toThrow()
  })
})
