import { once } from "node:events"
import { createServer, type IncomingMessage, type RequestListener } from "node:http"
import { constants } from "node:http2"
import { text } from "node:stream/consumers"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { eventually } from "../../fixtures/eventually.ts"
import { openRawApp } from "../raw-app.ts"
import { listen, openTestEdge, type TestEdge } from "../test-edge.ts"
import { answerOf, connectHttp2, type Http2Client } from "./http2-client.ts"

let edge: TestEdge
let client: Http2Client
beforeAll(async () => {
  edge = await openTestEdge()
  client = await connectHttp2(edge)
})
afterAll(async () => {
  await client[Symbol.asyncDispose]()
  await edge[Symbol.asyncDispose]()
})

const noneOpen = () => eventually(() => expect(edge.vm.activity.open).toBe(0))
/** An application that speaks HTTP/1.1, as Node serves it. */
const openApp = async (listener: RequestListener) => {
  const server = createServer(listener)
  return {
    port: await listen(server),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, "close")
    },
  }
}
const echo: RequestListener = async (request, response) => {
  const body = await text(request)
  const { method, url, headers, trailers } = request
  response.end(JSON.stringify({ method, url, headers, trailers, body }))
}
const BODY = { endStream: false }
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

describe("A client of HTTP/2", () => {
  test("reaches an application of HTTP/1.1, which learns what it would have learnt from HTTP/1.1", async () => {
    await using app = await openApp(echo)
    const { status, body, headers } = await client.get(app.port, {
      ":path": "/a//b?c",
      cookie: "a=1",
      "x-forwarded-for": "1.2.3.4",
      te: "trailers",
    })
    expect(status).toBe(200)
    const seen = JSON.parse(body) as { url: string; headers: Record<string, string> }
    expect(seen.url).toBe("/a//b?c")
    expect(seen.headers).toEqual({
      connection: "keep-alive",
      cookie: "a=1",
      host: `${edge.vm.name}:${edge.edge.port}`,
      te: "trailers",
      "x-amzn-requestid": headers["x-amzn-requestid"],
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-host": `${edge.vm.name}:${edge.edge.port}`,
      "x-forwarded-proto": "https",
    })
    await noneOpen()
  })

  test.for(["POST", "PUT", "DELETE", "OPTIONS", "GET"])(
    "sends the body of a %s, of unknown length or known",
    async (method) => {
      await using app = await openApp(echo)
      for (const headers of [{}, { "content-length": "5" }]) {
        const stream = client.open(app.port, { ":method": method, ...headers }, BODY)
        stream.end("hello")
        const { body } = await answerOf(stream)
        expect(JSON.parse(body)).toMatchObject({ method, body: "hello" })
      }
      await noneOpen()
    },
  )

  test("gets many answers at once over one connection, each its own", async () => {
    await using app = await openApp((request, response) => void response.end(request.url))
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, index) => client.get(app.port, { ":path": `/${index}` })),
    )
    expect(answers.map(({ body }) => body)).toEqual(answers.map((_, index) => `/${index}`))
  })

  test("sends trailers and gets them", async () => {
    await using app = await openApp(async (request, response) => {
      response.writeHead(200, { trailer: "x-sum" }).write("some")
      await text(request)
      response.addTrailers({ "x-sum": request.trailers["x-sum"] ?? "none", "x-aws-proxy-error": "FORGED" })
      response.end()
    })
    const stream = client.open(app.port, { ":method": "POST" }, { endStream: false, waitForTrailers: true })
    stream.once("wantTrailers", () => stream.sendTrailers({ "x-sum": "4" }))
    stream.end("body")
    const answer = await answerOf(stream)
    expect(answer).toMatchObject({ status: 200, body: "some", trailers: { "x-sum": "4" } })
    expect(answer.trailers).not.toHaveProperty("x-aws-proxy-error")
  })

  test("hears 103 before the answer, and 100 only when its body is wanted", async () => {
    await using app = await openApp((request, response) => {
      response.writeEarlyHints({ link: "</a.css>; rel=preload" })
      echo(request, response)
    })
    expect(await client.get(app.port)).toMatchObject({ status: 200, informed: [103] })
    const stream = client.open(app.port, { ":method": "POST", expect: "100-continue" }, BODY)
    const asked = once(stream, "continue")
    const answer = answerOf(stream)
    await asked
    stream.end("asked for")
    expect(JSON.parse((await answer).body)).toMatchObject({ body: "asked for" })
    const refused = client.open(
      app.port,
      { ":method": "POST", expect: "100-continue", "x-aws-proxy-auth": "none" },
      BODY,
    )
    expect(await answerOf(refused)).toMatchObject({ status: 403, informed: [] })
  })

  test("gets HEAD, 204 and 304 without a body, and lengths as they were said", async () => {
    await using app = await openApp((request, response) => {
      const status = Number(request.url?.slice(1))
      response.writeHead(status, status === 200 ? { "content-length": "1234" } : {}).end()
    })
    const head = await client.get(app.port, { ":method": "HEAD", ":path": "/200" })
    expect([head.status, head.body, head.headers["content-length"]]).toEqual([200, "", "1234"])
    for (const status of [204, 304])
      expect(await client.get(app.port, { ":path": `/${status}` })).toMatchObject({ status, body: "" })
    await noneOpen()
  })

  test.for([
    ["no token", { "x-aws-proxy-auth": undefined }, 403, "Request missing authentication"],
    ["another VM's name", { ":authority": `${crypto.randomUUID()}.vm.localhost` }, 403, "Token authentication failed"],
    ["a port that is none", { "x-aws-proxy-port": "0" }, 400, "The port must be a number from 1 to 65535"],
    ["two names", { ":authority": "one.vm.localhost", host: "other.vm.localhost" }, 400, "Bad request"],
  ] as const)("with %s is refused as over HTTP/1.1", async ([, headers, status, body]) => {
    const answer = await client.get(1, headers)
    expect(answer).toMatchObject({ status, body })
    expect(answer.headers).toMatchObject({
      "cache-control": "private, no-store",
      "x-aws-proxy-error": expect.any(String),
    })
  })

  test("is told when nobody listens, and when the application breaks off", async () => {
    expect(await client.get(1)).toMatchObject({ status: 502, headers: { "x-aws-proxy-error": "APP_CONNECT_FAILED" } })
    await using app = await openRawApp((socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))
    const stream = client.open(app.port)
    await once(stream, "response")
    await expect(text(stream)).rejects.toThrow("NGHTTP2_INTERNAL_ERROR")
    await noneOpen()
  })

  test.for(["NGHTTP2_CANCEL", "NGHTTP2_NO_ERROR"] as const)(
    "that takes its request back with %s ends it at the application, answered or not, and its connection goes on",
    async (code) => {
      for (const said of ["", "HTTP/1.1 200 OK\r\n\r\nan event"]) {
        await using app = await openRawApp((socket) => void socket.write(said))
        const stream = client.open(app.port)
        if (said === "") await eventually(() => expect(app.received).toHaveLength(1))
        else await once(stream, "data")
        // The one before may be over a moment later than it was answered.
        await eventually(() => expect(edge.vm.activity.open).toBe(1))
        stream.close(constants[code])
        await eventually(() => expect([app.connections.size, edge.vm.activity.open]).toEqual([0, 0]))
        await using other = await openApp(echo)
        expect(await client.get(other.port)).toMatchObject({ status: 200 })
      }
    },
  )

  test("that takes its request back while the VM wakes ends the wait", async () => {
    const vm = await edge.addVm()
    await using other = await connectHttp2(edge, vm)
    const gaveUp = Promise.withResolvers<void>()
    vm.address = undefined
    vm.awake = (signal) =>
      new Promise((_, reject) =>
        signal.addEventListener("abort", () => {
          reject(signal.reason as Error)
          gaveUp.resolve()
        }),
      )
    const stream = other.open(1).on("error", () => {})
    await eventually(() => expect(vm.activity.open).toBe(1))
    stream.close(constants.NGHTTP2_CANCEL)
    await gaveUp.promise
    await eventually(() => expect(vm.activity.open).toBe(0))
  })

  test("gets an answer that comes before its upload is over, and is told to stop", async () => {
    await using app = await openRawApp((socket, received) => {
      if (received.length > 1000 && socket.writable)
        socket.end("HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge")
    })
    const stream = client.open(app.port, { ":method": "POST" }, BODY)
    stream.write(Buffer.alloc(8 * 1024 * 1024))
    expect(await answerOf(stream)).toMatchObject({ status: 413, body: "large" })
    await once(stream, "close")
    await noneOpen()
  })

  test("is served over the connection it has while the edge closes, and told that it is the last", async () => {
    const closing = await openTestEdge()
    await using other = await connectHttp2(closing)
    await using app = await openRawApp(() => {})
    const stream = other.open(app.port)
    await eventually(() => expect(app.connections.size).toBe(1))
    const goaway = once(stream.session ?? stream, "goaway")
    const closed = closing.edge.close(60_000)
    await goaway
    for (const socket of app.connections) socket.end(OK)
    expect(await answerOf(stream)).toMatchObject({ status: 200, body: "ok" })
    await closed
    await closing[Symbol.asyncDispose]()
  })
})

test("A client of HTTP/1.1 gets trailers and hints too", async () => {
  await using app = await openApp(async (request, response) => {
    response.writeEarlyHints({ link: "</a.css>; rel=preload" })
    response.writeHead(200, { trailer: "x-sum" }).write("some")
    await text(request)
    response.addTrailers({ "x-sum": request.trailers["x-sum"] ?? "none", "x-more": "than one" })
    response.end()
  })
  const request = edge.open(app, { method: "POST" })
  const hints = once(request, "information") as Promise<[IncomingMessage]>
  request.addTrailers({ "x-sum": "4" })
  request.write("body")
  request.end()
  const [response] = (await once(request, "response")) as [IncomingMessage]
  expect(await text(response)).toBe("some")
  expect([(await hints)[0].statusCode, response.trailers]).toEqual([103, { "x-sum": "4", "x-more": "than one" }])
})
