import { createServer, type IncomingMessage, type Server } from "node:http"
import { text } from "node:stream/consumers"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { listen, openTestEdge, type TestEdge } from "./test-edge.ts"

interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: Record<string, string>
  readonly body: string
}

/** An application that answers with what it was asked, and remembers it. */
const requests: Seen[] = []
let app: Server
let port: number
let edge: TestEdge
beforeAll(async () => {
  edge = await openTestEdge()
  app = createServer(async (request: IncomingMessage, response) => {
    const { method = "", url = "", headers } = request
    const seen = { method, url, headers: headers as Record<string, string>, body: await text(request) }
    requests.push(seen)
    response.writeHead(200, {
      connection: "close, x-hop",
      "keep-alive": "timeout=1",
      "proxy-authenticate": "Basic",
      ...(method === "HEAD" ? {} : { trailer: "x-late" }),
      upgrade: "h2c",
      "x-hop": "1",
      "x-end": "1",
      "x-aws-proxy-error": "FORGED",
      "x-aws-proxy-forged": "1",
      "x-amzn-requestid": "forged",
      "set-cookie": ["a=1", "b=2"],
    })
    response.end(JSON.stringify(seen))
  })
  port = await listen(app)
})
afterAll(async () => {
  await edge[Symbol.asyncDispose]()
  app.close()
})

/** Sends bytes as they are on a connection of their own, and reads all that comes back. */
const exchange = async (bytes: string): Promise<string> => {
  const socket = await edge.raw()
  socket.write(bytes, "latin1")
  return text(socket.setEncoding("latin1"))
}
/** What the application saw of a request with these fields. */
const seenOf = async (line: string, ...fields: string[]): Promise<Seen> => {
  const answer = await exchange(edge.head(line, port, "Connection: close", ...fields))
  expect(answer).toMatch(/^HTTP\/1.1 200 /)
  return requests.at(-1) as Seen
}

describe("An application", () => {
  test("learns who asks from the edge alone", async () => {
    const { headers } = await seenOf(
      "GET /",
      ...["For: 1.2.3.4", "Proto: http", "Host: elsewhere", "Port: 1"].map((field) => `X-Forwarded-${field}`),
      "Forwarded: for=1.2.3.4",
      "X-Amzn-RequestId: forged",
      "X-aws-proxy-anything: 1",
      // A CGI or WSGI application takes an underscore for a hyphen.
      "X_Forwarded_For: 1.2.3.4",
      "X-Forwarded_Host: elsewhere",
      "X_Amzn_RequestId: forged",
      "X_aws_proxy_auth: forged",
      "Cookie: a=1",
    )
    expect(headers).toMatchObject({
      host: edge.vm.name,
      cookie: "a=1",
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": "https",
      "x-forwarded-host": edge.vm.name,
      "x-amzn-requestid": expect.stringMatching(/^[0-9a-f-]{36}$/),
    })
    expect(Object.keys(headers).filter((name) => /_|^x-aws-|^forwarded|x-forwarded-port/.test(name))).toEqual([])
  })

  test("gets nothing that was said to the edge's own connection", async () => {
    const { headers } = await seenOf(
      "GET /",
      "Connection: X-Named , x-other",
      "X-Named: 1",
      "X-Other: 1",
      "X-End: 1",
      "Keep-Alive: timeout=5",
      "Proxy-Connection: keep-alive",
      "Proxy-Authorization: Basic eDp5",
      "TE: gzip, trailers",
      "Trailer: x-late",
      "Upgrade: h2c",
    )
    expect(Object.keys(headers).toSorted()).toEqual([
      "connection",
      "host",
      "te",
      "x-amzn-requestid",
      "x-end",
      "x-forwarded-for",
      "x-forwarded-host",
      "x-forwarded-proto",
    ])
    expect([headers["connection"], headers["te"]]).toEqual(["keep-alive", "trailers"])
  })

  test.for(["/a//b", "//other/x", "/a/../b", "/a{b}|c", "/a\\b", "/?to=http://x//y?z", "/%2e%2F#c"])(
    "gets the path %s as it was sent",
    async (path) => {
      expect((await seenOf(`GET ${path}`)).url).toBe(path)
    },
  )

  test.for(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])("gets the body of a %s", async (method) => {
    const body = "GET /smuggled HTTP/1.1\r\n\r\n"
    const line = `${method} /body`
    for (const framed of [
      edge.head(line, port, `Content-Length: ${body.length}`) + body,
      edge.head(line, port, "Transfer-Encoding: chunked") + `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    ]) {
      const answers = await exchange(framed + edge.head("GET /next", port, "Connection: close"))
      expect(answers.match(/HTTP\/1.1 200 OK/g)).toHaveLength(2)
      expect(requests.slice(-2)).toMatchObject([
        { method, url: "/body", body },
        { method: "GET", url: "/next", body: "" },
      ])
    }
    expect(requests.map(({ url }) => url)).not.toContain("/smuggled")
  })
})

describe("A client", () => {
  test("gets the application's answer without what isn't the application's to say", async () => {
    const { headers } = await edge.get({ port })
    expect(Object.keys(headers).toSorted()).toEqual([
      "connection",
      "date",
      "keep-alive",
      "set-cookie",
      "transfer-encoding",
      "x-amzn-requestid",
      "x-end",
    ])
    expect(headers["set-cookie"]).toEqual(["a=1", "b=2"])
    expect(headers.connection, "the application's own connection closes, not this one").toBe("keep-alive")
  })

  test("gets the id that the application got, another for each request, in refusals too", async () => {
    const first = await edge.get({ port })
    const second = await edge.get({ port })
    const refused = await edge.get({ port }, { headers: { "x-aws-proxy-auth": "none" } })
    const ids = [first, second, refused].map(({ headers }) => headers["x-amzn-requestid"])
    expect(requests.slice(-2).map(({ headers }) => headers["x-amzn-requestid"])).toEqual(ids.slice(0, 2))
    expect(new Set(ids).size).toBe(3)
    expect(refused.headers).toMatchObject({ "x-aws-proxy-error": "UNAUTHORIZED", "cache-control": "private, no-store" })
  })
})

describe("A request that could be read as two", () => {
  test.for([
    ["two lengths", "Content-Length: 3\r\nContent-Length: 30"],
    ["a length and chunks", "Content-Length: 3\r\nTransfer-Encoding: chunked"],
    ["another coding", "Transfer-Encoding: gzip, chunked"],
    ["a coding after the chunks", "Transfer-Encoding: chunked, gzip"],
    ["a coding that only looks like chunks", "Transfer-Encoding: xchunked"],
    ["a coding said twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"],
    ["a signed length", "Content-Length: +3"],
    ["a length in hex", "Content-Length: 0x3"],
    ["a blank before the colon", "Content-Length : 3"],
    ["a folded line", "X-A: b\r\n Content-Length: 3"],
    ["a bare line feed", "X-A: b\nContent-Length: 3"],
    ["a bare carriage return", "X-A: b\rContent-Length: 3"],
    ["a zero byte", "X-A: b\0c"],
    ["two hosts", "Host: other.vm.localhost"],
  ] as const)("is refused: %s", async ([, fields]) => {
    const before = requests.length
    const answer = await exchange(`${edge.head("POST /", port, "Connection: close", fields)}0\r\n\r\n`)
    expect(answer).toMatch(/^HTTP\/1.1 400 /)
    expect(requests).toHaveLength(before)
  })

  test.for([
    "5;\nx\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "-1\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
  ])("is broken off at a chunk that isn't one: %j", async (chunks) => {
    const before = requests.length
    const answer = await exchange(
      `${edge.head("POST /", port, "Transfer-Encoding: chunked")}${chunks}${edge.head("GET /smuggled", port)}`,
    )
    expect(answer).not.toMatch(/200 OK/)
    expect(requests).toHaveLength(before)
  })

  test("isn't made by naming its length a matter of the connection", async () => {
    const answers = await exchange(
      `${edge.head("GET /named", port, "Connection: Content-Length, Host, Transfer-Encoding", "Content-Length: 25")}GET /smuggled HTTP/1.1\r\n\r${edge.head("GET /last", port, "Connection: close")}`,
    )
    expect(answers.match(/HTTP\/1.1 /g)).toHaveLength(2)
    expect(requests.slice(-2).map(({ url, body }) => [url, body.length])).toEqual([
      ["/named", 25],
      ["/last", 0],
    ])
  })

  test.for(["http://other.vm.localhost/", "other.vm.localhost", "*"])("has a target of its own: %s", async (target) => {
    expect(await exchange(edge.head(`GET ${target}`, port, "Connection: close"))).toMatch(
      target === "*" ? /^HTTP\/1.1 200 / : /^HTTP\/1.1 400 /,
    )
  })

  test.for(["127.0.0.1:22", "/"])("is no tunnel to %s", async (target) => {
    expect(await exchange(edge.head(`CONNECT ${target}`, port))).toMatch(/^HTTP\/1.1 400 [^]*\r\n\r\nBad request$/)
  })
})
