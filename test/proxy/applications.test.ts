import { once } from "node:events"
import type { IncomingMessage } from "node:http"
import { text } from "node:stream/consumers"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { eventually } from "../fixtures/eventually.ts"
import { openRawApp } from "./raw-app.ts"
import { openTestEdge, type TestEdge } from "./test-edge.ts"

let edge: TestEdge
beforeAll(async () => void (edge = await openTestEdge()))
afterAll(() => edge?.[Symbol.asyncDispose]())

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
const noneOpen = () => eventually(() => expect(edge.vm.activity.open).toBe(0))

describe("An application that answers what HTTP doesn't know", () => {
  test.for([
    "HTTP/1.1 000 None\r\nContent-Length: 0",
    "HTTP/1.1 099 Low\r\nContent-Length: 0",
    "HTTP/1.1 1000 High\r\nContent-Length: 0",
    "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0",
    "HTTP/1.1 200 OK\r\nBad: \x01\r\nContent-Length: 0",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 5",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
    `HTTP/1.1 200 OK\r\nBig: ${"x".repeat(70_000)}`,
    "hello",
    "",
  ])("gives its client a 502, and the edge lives on: %j", async (head) => {
    await using app = await openRawApp((socket) => socket.end(head === "" ? "" : `${head}\r\n\r\n`, "latin1"))
    const { status, body, headers } = await edge.get(app)
    expect({ status, body, error: headers["x-aws-proxy-error"] }).toEqual({
      status: 502,
      body: "",
      error: "APP_CONNECT_FAILED",
    })
    await noneOpen()
  })

  test("as a reason phrase is passed on without it", async () => {
    await using app = await openRawApp((socket) => socket.end("HTTP/1.1 222 a\x01\x00b\r\nContent-Length: 2\r\n\r\nok"))
    expect(await edge.get(app)).toMatchObject({ status: 222, body: "ok" })
  })
})

describe("An application that breaks off", () => {
  test.for([
    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense",
  ])("in its answer breaks its client's off too, so that half isn't taken for all: %j", async (half) => {
    await using app = await openRawApp((socket) => socket.end(half))
    await expect(edge.get(app)).rejects.toThrow("aborted")
    await noneOpen()
  })

  test("before it answers gets nothing twice, unless it closed a kept connection", async () => {
    await using app = await openRawApp((socket, received, connection) => {
      if (received.includes("/reset")) socket.resetAndDestroy()
      // The second request on a connection finds it closed.
      else if (connection % 2 === 1 && received.split("\r\n\r\n").length > 2) socket.destroy()
      else socket.write(OK)
    })
    expect(await edge.get({ ...app, path: "/reset" })).toMatchObject({ status: 502 })
    expect(app.received).toHaveLength(1)
    expect(await edge.get(app)).toMatchObject({ status: 200 })
    expect(await edge.get({ ...app, path: "/again" })).toMatchObject({ status: 200, body: "ok" })
    expect(app.received.map((text_) => text_.match(/(?<=GET )\S+/g))).toEqual([["/reset"], ["/", "/again"], ["/again"]])
    await eventually(() => expect(app.connections.size).toBe(1))
  })

  test("a connection that was just used is used for the next request with a body, unless the application says that it closes it", async () => {
    /** How many connections two requests had of an application. */
    const connectionsOf = async (answer: string) => {
      await using app = await openRawApp((socket) => socket.write(answer))
      for (let times = 0; times < 2; times++) {
        const request = edge.open(app, { method: "POST" }).end("body")
        const [response] = (await once(request, "response")) as [IncomingMessage]
        expect([response.statusCode, await text(response)]).toEqual([200, "ok"])
      }
      return app.received.length
    }
    // On a busy machine it may have rested for longer than it is good.
    await eventually(async () => expect(await connectionsOf(OK)).toBe(1))
    expect(await connectionsOf(OK.replace("\r\n", "\r\nKeep-Alive: timeout=1\r\n"))).toBe(2)
  })

  test("a kept connection under a request with a body gets it only once", async () => {
    await using app = await openRawApp((socket, received) => {
      if (received.includes("/second")) socket.destroy()
      else socket.write(OK)
    })
    expect(await edge.get(app)).toMatchObject({ status: 200 })
    const request = edge.open({ ...app, path: "/second" }, { method: "POST" }).end("body")
    const [{ statusCode }] = (await once(request, "response")) as [IncomingMessage]
    expect(statusCode).toBe(502)
    expect(app.received.join("").match(/\/second/g)).toHaveLength(1)
  })
})

describe("An application that answers", () => {
  test.for([
    ["with a body as long as its connection", "HTTP/1.0 200 OK\r\n\r\nall of it", 200, "all of it"],
    ["with hints first", `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${OK}`, 200, "ok"],
    ["with nothing", "HTTP/1.1 204 No Content\r\n\r\n", 204, ""],
    ["that nothing is new", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304, ""],
  ] as const)("%s is understood", async ([, answer, status, body]) => {
    await using app = await openRawApp((socket) => socket.end(answer))
    expect(await edge.get(app)).toMatchObject({ status, body })
  })

  test.for(["GET", "POST"])("a %s with hints of any form first has them passed on, but to HTTP/1.0", async (method) => {
    const hints =
      'HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nLink: </b>; title="two words"\r\nX-More: 1\r\n\r\n'
    await using app = await openRawApp((socket, received) => {
      if (socket.writable && received.includes("\r\n\r\n")) socket.end(hints + OK)
    })
    const body = method === "POST" ? "body" : ""
    const request = edge.head(`${method} /`, app.port, "Connection: close", `Content-Length: ${body.length}`) + body
    const told = async (bytes: string) => {
      const socket = await edge.raw()
      socket.write(bytes)
      return text(socket)
    }
    expect(await told(request)).toMatch(
      /^HTTP\/1.1 103 Early Hints\r\nlink: <\/a>; rel=preload, <\/b>; title="two words"\r\nx-more: 1\r\n\r\nHTTP\/1.1 200 /,
    )
    expect(await told(request.replace("HTTP/1.1", "HTTP/1.0"))).toMatch(/^HTTP\/1.1 200 /)
    await noneOpen()
  })

  test("a HEAD says how long the body would be", async () => {
    await using app = await openRawApp((socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"))
    const { body, headers } = await edge.get(app, { method: "HEAD" })
    expect([body, headers["content-length"]]).toEqual(["", "1234"])
  })

  test("with a head alone has it passed on at once", async () => {
    await using app = await openRawApp((socket) =>
      socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"),
    )
    const request = edge.open(app).end()
    const [response] = (await once(request, "response")) as [IncomingMessage]
    expect(edge.vm.activity.open).toBe(1)
    const ended = once(response, "end")
    for (const socket of app.connections) socket.end("data: 1\n\n")
    expect(await Promise.all([text(response), ended])).toMatchObject(["data: 1\n\n", []])
  })

  test("before the upload is over, and closes, is heard", async () => {
    await using app = await openRawApp((socket, received) => {
      if (received.length > 1000 && socket.writable)
        socket.end("HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge")
    })
    const request = edge.open(app, { method: "POST" }).on("error", () => {})
    request.write(Buffer.alloc(8 * 1024 * 1024))
    const [response] = (await once(request, "response")) as [IncomingMessage]
    expect([response.statusCode, await text(response)]).toEqual([413, "large"])
    request.end()
    await noneOpen()
  })

  test("before the upload is over, and reads on, gets the rest", async () => {
    await using app = await openRawApp((socket, received) => {
      if (received.endsWith("first\r\n")) socket.write(OK)
    })
    const request = edge.open(app, { method: "POST" })
    request.write("first")
    const [response] = (await once(request, "response")) as [IncomingMessage]
    expect(await text(response)).toBe("ok")
    expect(edge.vm.activity.open, "the rest is under way").toBe(1)
    request.end("last")
    await eventually(() => expect(app.received[0]).toMatch(/4\r\nlast\r\n0\r\n\r\n$/))
    await noneOpen()
  })
})

describe("A body that nobody wants", () => {
  const upload = (token: string, bytes: number) => {
    const request = edge.open({ port: 1 }, { method: "POST", headers: { "x-aws-proxy-auth": token } })
    request.end(Buffer.alloc(bytes))
    return request
  }

  test("is read to its end, so that its sender reads why and can use the connection again", async () => {
    const request = upload("none", 8 * 1024 * 1024)
    const [response] = (await once(request, "response")) as [IncomingMessage]
    expect([response.statusCode, await text(response)]).toEqual([403, "Request missing authentication"])
    expect(response.headers.connection).not.toBe("close")
  })

  test("is cut when it doesn't end", async () => {
    const socket = await edge.raw()
    socket.write(edge.head("POST /", 1, "Content-Length: 999999999999").replace(edge.vm.token, "none"))
    const [head] = (await once(socket, "data")) as [Buffer]
    expect(head.toString()).toMatch(/^HTTP\/1.1 403 /)
    const closed = new Promise((resolve) => socket.once("close", resolve))
    const chunk = Buffer.alloc(1024 * 1024)
    const more = () => {
      while (socket.writable && socket.write(chunk));
    }
    socket.on("drain", more)
    more()
    await closed
    expect(socket.bytesWritten).toBeLessThan(64 * 1024 * 1024)
  })

  test("isn't asked for", async () => {
    const request = edge.open(
      { port: 1 },
      { method: "POST", headers: { expect: "100-continue", "content-length": "5", "x-aws-proxy-auth": "none" } },
    )
    request.flushHeaders()
    let asked = false
    request.once("continue", () => (asked = true))
    const [response] = (await once(request, "response")) as [IncomingMessage]
    expect([response.statusCode, response.headers.connection, asked]).toEqual([403, "close", false])
    response.resume()
    request.destroy()
  })

  test("and was asked for is read like any other", async () => {
    const socket = await edge.raw()
    let told = ""
    socket.on("data", (data: Buffer) => void (told += data.toString()))
    // One may come with the other, or long after it.
    const hears = (...statuses: number[]) =>
      eventually(() =>
        expect([...told.matchAll(/^HTTP\/1.1 (\d+) /gm)].map(([, status]) => Number(status))).toEqual(statuses),
      )
    socket.write(edge.head("POST /", 1, "Content-Length: 65536", "Expect: 100-continue"))
    await hears(100, 502)
    socket.write(Buffer.alloc(65536))
    socket.write(edge.head("GET /next", 1))
    await hears(100, 502, 502)
    socket.destroy()
  })
})
