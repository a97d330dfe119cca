import { once } from "node:events"
import { createServer, type IncomingHttpHeaders, type Server } from "node:http"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { WebSocket, WebSocketServer } from "ws"
import { RouteError } from "../../../proxy/route.ts"
import { listen, openTestEdge, type EdgeVm, type TestEdge } from "../test-edge.ts"
import { createVisitor, FOLLOWED, NEIGHBOUR, OWN, type Visitor } from "./visitor.ts"

let edge: TestEdge
let app: Server
let port: number
let got: IncomingHttpHeaders[]
let browser: Visitor
let home: string

beforeAll(async () => {
  edge = await openTestEdge()
  app = createServer((request, response) => {
    got.push(request.headers)
    response
      .setHeader("set-cookie", [
        "kept=1; Path=/",
        "tossed=1; Domain=vm.localhost",
        "__Host-torpor=forged; Secure; Path=/",
      ])
      .end("the page")
  })
  new WebSocketServer({ server: app }).on("connection", (_, request) => void got.push(request.headers))
  port = await listen(app)
})
afterAll(async () => {
  await edge[Symbol.asyncDispose]()
  app.close()
})
const enter = async (vm: EdgeVm) => {
  const host = `${port}-${vm.name}`
  const { token } = await edge.tokens.links.mint({ vmId: vm.id, port, path: "/", expirationSeconds: 60 })
  await browser.visit(host, `/.torpor/enter?link=${token}`)
  return host
}
beforeEach(async () => {
  got = []
  browser = createVisitor(edge)
  home = await enter(edge.vm)
})
const originOf = (host: string) => `https://${host}:${edge.edge.port}`

describe("A browser that was let in", () => {
  test("sends its cookie to the edge, and the application gets the others only", async () => {
    expect(await browser.visit(home, "/", { headers: OWN })).toMatchObject({ status: 200, body: "the page" })
    expect(got.map(({ cookie }) => cookie)).toEqual(["mine=1; yours=2"])
  })

  test("keeps what the application sets for its own host, and nothing wider", async () => {
    expect((await browser.visit(home, "/", { headers: OWN })).headers["set-cookie"]).toEqual(["kept=1; Path=/"])
  })

  test("opens a WebSocket from the application's page, and from no other", async () => {
    expect(await browser.socket(home, { origin: originOf(home) })).toBe("open")
    expect(got.map(({ cookie }) => cookie)).toEqual(["mine=1; yours=2"])
    const sibling = await edge.addVm()
    for (const origin of [originOf(sibling.name), originOf(edge.vm.name), "https://example.com", "null"])
      expect(await browser.socket(home, { origin }), origin).toBe("403")
    expect(await browser.socket(home)).toBe("403")
    expect(await browser.socket(home, { origin: originOf(home), ...NEIGHBOUR })).toBe("403")
    expect(got).toHaveLength(1)
  })

  test("gets nowhere else with it: not to another port, nor to another MicroVM", async () => {
    const cookie = browser.cookieOf(home) ?? ""
    const sibling = await edge.addVm()
    const body = async (host: string, headers: Record<string, string> = {}) =>
      (await browser.visit(host, "/", { headers: { cookie, ...headers } })).body
    expect(await body(home, { "x-aws-proxy-port": "22" })).toBe("Access to port denied")
    expect(await body(`${port + 1}-${edge.vm.name}`)).toBe("Access to port denied")
    expect(await body(`${port}-${sibling.name}`)).toBe("Token authentication failed")
    expect(await body(home, { cookie: `${cookie}; ${cookie}` })).toBe("Request missing authentication")
    expect(await body(home)).toBe("the page")
  })

  test("is refused when another's page sends it, whatever it asks for", async () => {
    const sibling = await edge.addVm()
    const origin = originOf(sibling.name)
    const foreign = [
      { headers: NEIGHBOUR },
      { headers: { ...NEIGHBOUR, "sec-fetch-dest": "script" } },
      { headers: { ...FOLLOWED, "sec-fetch-dest": "iframe" } },
      { headers: { ...OWN, "sec-fetch-site": "same-site", origin } },
      { method: "POST", headers: { ...FOLLOWED, origin } },
      { method: "POST", headers: { origin } },
      { method: "POST" },
      { method: "OPTIONS", headers: { origin, "access-control-request-method": "PUT" } },
    ]
    for (const request of foreign) {
      const { status, body } = await browser.visit(home, "/", request)
      expect([status, body]).toEqual([403, "Requests by other pages than the MicroVM's own are refused"])
    }
    expect(got).toEqual([])
  })

  test("may do all of it with a token of its own: that goes before the cookie, which goes no further all the same", async () => {
    const headers = { ...NEIGHBOUR, "x-aws-proxy-auth": edge.vm.token }
    expect(await browser.visit(home, "/", { method: "POST", headers })).toMatchObject({ status: 200 })
    expect(got.map(({ cookie }) => cookie)).toEqual(["mine=1; yours=2"])
    const offered = ["lambda-microvms", `lambda-microvms.authentication.${edge.vm.token}`]
    expect(await browser.socket(home, { origin: "https://example.com" }, offered)).toBe("open")
    for (const bad of ["", "x.y.z"])
      expect(await browser.visit(home, "/", { headers: { ...OWN, "x-aws-proxy-auth": bad } })).toMatchObject({
        status: 403,
      })
  })

  test("has nothing in its hand that a program could send as a token", async () => {
    const [, token = ""] = (browser.cookieOf(home) ?? "").split("=")
    const { body } = await createVisitor(edge).visit(home, "/", { headers: { "x-aws-proxy-auth": token } })
    expect(body).toBe("Request missing authentication")
    const headers = { ...OWN, cookie: `__Host-torpor=${edge.vm.token}` }
    expect((await browser.visit(home, "/", { headers })).body).toBe("Request missing authentication")
  })

  test("is out when its MicroVM ends, and what it had open is closed", async () => {
    const vm = await edge.addVm()
    const host = await enter(vm)
    expect((await browser.visit(host, "/", { headers: OWN })).status).toBe(200)
    const socket = new WebSocket(`wss://${host}:${edge.edge.port}/`, {
      ca: edge.ca,
      headers: { cookie: browser.cookieOf(host) ?? "", origin: originOf(host) },
    })
    await once(socket, "open")
    Object.assign(vm, { address: undefined, awake: () => Promise.reject(new RouteError("TERMINATED")) })
    edge.edge.drop(vm.id)
    await once(socket, "close")
    const ended = { status: 502, body: "", headers: { "x-aws-proxy-error": "MICROVM_CONNECT_FAILED" } }
    expect(await browser.visit(host, "/", { headers: OWN })).toMatchObject(ended)
    expect(await edge.get({ port, vm }), "with a token that is still good").toMatchObject(ended)
    expect(await browser.socket(host, { origin: originOf(host) })).toBe("502")
  })
})

describe("A port is what", () => {
  const answer = async (host: string, headers: Record<string, string> = {}) => {
    const { status, headers: said } = await browser.visit(host, "/", {
      headers: { "x-aws-proxy-auth": edge.vm.token, ...headers },
    })
    return status === 200 ? 200 : said["x-aws-proxy-error"]
  }
  const unknown = 1

  test("the host says, in front of the endpoint", async () => {
    expect(await answer(home)).toBe(200)
    expect(await answer(edge.vm.name), "8080, where nobody listens").toBe("APP_CONNECT_FAILED")
    for (const prefix of ["0-", `0${port}-`, "65536-", `${port}-${port}-`, "-"])
      expect(await answer(prefix + edge.vm.name), prefix).toBe("UNAUTHORIZED")
  })

  test("a header says before that, and a WebSocket's subprotocol", async () => {
    expect(await answer(`${unknown}-${edge.vm.name}`, { "x-aws-proxy-port": String(port) })).toBe(200)
    expect(await answer(home, { "x-aws-proxy-port": String(unknown) })).toBe("APP_CONNECT_FAILED")
    const offered = ["lambda-microvms", `lambda-microvms.authentication.${edge.vm.token}`]
    const strange = `${unknown}-${edge.vm.name}`
    const without = createVisitor(edge)
    expect(await without.socket(strange, {}, [...offered, `lambda-microvms.port.${port}`])).toBe("open")
    expect(await without.socket(home, {}, [...offered, `lambda-microvms.port.${unknown}`])).toBe("502")
    expect(
      await without.socket(strange, { "x-aws-proxy-port": String(port) }, [
        ...offered,
        `lambda-microvms.port.${unknown}`,
      ]),
    ).toBe("open")
    expect(await without.socket(home, {}, offered)).toBe("open")
  })
})
