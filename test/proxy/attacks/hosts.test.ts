/**
 * Names that lead elsewhere: a careless proxy finds a name in whatever holds it, and has a place for those without one; it asks once for
 * each connection where it goes, and of a token only whether it is good. The edge asks each request.
 */
import { connect as connectPlain } from "node:net"
import { once } from "node:events"
import { connect as connectHttp2, createServer as createHttp2Server, type ClientHttp2Session } from "node:http2"
import { text } from "node:stream/consumers"
import { decodeJwt } from "jose"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { eventually } from "../../fixtures/eventually.ts"
import { listen, openTestEdge, type EdgeVm, type TestEdge } from "../test-edge.ts"
import { PLAIN } from "./dialect.ts"
import { openLenientApp, type LenientApp } from "./lenient-app.ts"
import { openNaiveProxy } from "./naive-proxy.ts"

let edge: TestEdge
let other: EdgeVm
let app: LenientApp
beforeAll(async () => {
  edge = await openTestEdge()
  other = await edge.addVm()
  app = await openLenientApp(PLAIN)
})
afterAll(async () => {
  await edge[Symbol.asyncDispose]()
  await app[Symbol.asyncDispose]()
})

const headOf = (host: string | undefined, vm: EdgeVm, path = "/", connection = "close") =>
  [
    `GET ${path} HTTP/1.1`,
    ...(host === undefined ? [] : [`Host: ${host}`]),
    `X-aws-proxy-auth: ${vm.token}`,
    `X-aws-proxy-port: ${app.port}`,
    `Connection: ${connection}`,
    "\r\n",
  ].join("\r\n")
const exchange = async (bytes: string) => {
  const socket = await edge.raw()
  socket.setEncoding("latin1").write(bytes, "latin1")
  return text(socket)
}
/** As the names of virtual hosts are often looked up: whoever asks for none that is known gets the first. */
const naivelyFinds = (host = ""): EdgeVm => [edge.vm, other].find(({ id }) => host.includes(id)) ?? edge.vm
/** As tokens are often checked: this one is ours, and not over. */
const naivelyAccepts = (token: string) => Number(decodeJwt(token).exp) * 1000 > Date.now()
const statusesOf = (answers: string) => [...answers.matchAll(/HTTP\/1.1 (\d+)/g)].map(([, status]) => Number(status))

describe("A name", () => {
  test.for<[what: string, host: (name: string) => string | undefined, status: number]>([
    ["in upper case", (name) => name.toUpperCase(), 200],
    ["with a last dot", (name) => `${name}.`, 200],
    ["with a port", (name) => `${name}:7443`, 200],
    ["with two dots", (name) => `${name}..`, 403],
    ["with a port that is none", (name) => `${name}:x`, 403],
    ["behind a user's", (name) => `user@${name}`, 403],
    ["before another", (name) => `${name}, other.vm.localhost`, 403],
    ["before a path", (name) => `${name}/x`, 403],
    ["below it", (name) => `a.${name}`, 403],
    ["that is an address", () => "127.0.0.1", 403],
    ["that is empty", () => "", 403],
    ["that is very long", (name) => `${"a".repeat(8000)}.${name}`, 403],
    ["with a port before it that is too high", (name) => `99999-${name}`, 403],
    ["with a port before it that is zero", (name) => `0-${name}`, 403],
    ["with a signed port before it", (name) => `+80-${name}`, 403],
    ["that isn't said", () => undefined, 400],
    ["said twice", (name) => `${name}\r\nHost: ${name}`, 400],
  ])("%s leads to its MicroVM or nowhere", async ([, host, status]) => {
    expect(naivelyFinds(host(edge.vm.name)?.toLowerCase())).toBe(edge.vm)
    const before = app.requests.length
    const answer = await exchange(headOf(host(edge.vm.name), edge.vm))
    expect(statusesOf(answer)).toEqual([status])
    expect(app.requests.length - before).toBe(status === 200 ? 1 : 0)
  })

  test("of another MicroVM isn't reached with one's own token, whatever TLS was told", async () => {
    const before = app.requests.length
    // The connection was made in the name of the first.
    for (const [host, vm] of [
      [other.name, edge.vm],
      [edge.vm.name, other],
    ] as const) {
      expect([naivelyFinds(host) === vm, naivelyAccepts(vm.token)]).toEqual([false, true])
      expect(await exchange(headOf(host, vm))).toMatch(/^HTTP\/1.1 403 [^]*Token authentication failed$/)
    }
    expect(app.requests).toHaveLength(before)
    expect(statusesOf(await exchange(headOf(other.name, other)))).toEqual([200])
  })
})

describe("Two requests on one connection, for two MicroVMs,", () => {
  test("both go where the first went behind a careless proxy, and each is judged by the edge", async () => {
    app.requests.length = 0
    const [first, second] = [
      headOf(edge.vm.name, edge.vm, "/first", "keep-alive"),
      headOf(other.name, edge.vm, "/second"),
    ]
    {
      await using proxy = await openNaiveProxy(app.port, { dialect: PLAIN })
      const socket = connectPlain(proxy.port, "127.0.0.1")
      socket.write(first + second)
      await eventually(() => expect(app.requests).toHaveLength(2))
      socket.destroy()
    }
    app.requests.length = 0
    expect(statusesOf(await exchange(first + second))).toEqual([200, 403])
    expect(app.requests.map(({ line }) => line)).toEqual(["GET /first HTTP/1.1"])
  })

  test("as browsers share them in HTTP/2, are each judged too", async () => {
    const statusOf = async (session: ClientHttp2Session, authority: string, vm: EdgeVm) => {
      const stream = session.request({
        ":authority": authority,
        "x-aws-proxy-auth": vm.token,
        "x-aws-proxy-port": String(app.port),
      })
      const [headers] = (await once(stream, "response")) as [{ ":status": number }]
      stream.resume()
      return headers[":status"]
    }
    const statusesOn = async (session: ClientHttp2Session) => {
      const statuses = [
        await statusOf(session, edge.vm.name, edge.vm),
        await statusOf(session, other.name, edge.vm),
        await statusOf(session, edge.vm.name, other),
        await statusOf(session, other.name, other),
      ]
      session.destroy()
      return statuses
    }
    // It checks whom the first request is for, and by whom; the rest of the connection goes the same way.
    const careless = createHttp2Server().on("session", (session) => {
      let isLetIn: boolean | undefined
      session.on("stream", (stream, headers) => {
        isLetIn ??= naivelyFinds(headers[":authority"]).token === headers["x-aws-proxy-auth"]
        stream.respond({ ":status": isLetIn ? 200 : 403 }, { endStream: true })
      })
    })
    const carelessly = connectHttp2(`http://127.0.0.1:${await listen(careless)}`)
    expect(await statusesOn(carelessly)).toEqual([200, 200, 200, 200])
    careless.close()
    const shared = connectHttp2(`https://127.0.0.1:${edge.edge.port}`, { ca: edge.ca, servername: edge.vm.name })
    expect(await statusesOn(shared)).toEqual([200, 403, 403, 200])
  })
})
