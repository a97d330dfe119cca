import { createServer, type Server } from "node:http"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { enter } from "../../../proxy/browser/enter.ts"
import { answerOf, connectHttp2 } from "../protocols/http2-client.ts"
import { listen, openTestEdge, type TestEdge } from "../test-edge.ts"
import { createVisitor, FOLLOWED, NEIGHBOUR, type Visitor } from "./visitor.ts"

let edge: TestEdge
let app: Server
let port: number
let seen: string[]
let browser: Visitor
let home: string

beforeAll(async () => {
  edge = await openTestEdge()
  app = createServer((request, response) => {
    seen.push([request.url, request.headers.cookie].filter(Boolean).join(" "))
    response.end("the page")
  })
  port = await listen(app)
})
afterAll(async () => {
  await edge[Symbol.asyncDispose]()
  app.close()
})
beforeEach(() => {
  seen = []
  browser = createVisitor(edge)
  home = `${port}-${edge.vm.name}`
})

const link = async (to: { port?: number; path?: string; expirationSeconds?: number; vmId?: string } = {}) => {
  const { token } = await edge.tokens.links.mint({
    vmId: edge.vm.id,
    port,
    path: "/a?b#c",
    expirationSeconds: 300,
    ...to,
  })
  return `/.torpor/enter?link=${token}`
}
const mint = (ports = [{ from: 1, to: 65535 }], expirationSeconds = 120) =>
  edge.tokens.mint({ vmId: edge.vm.id, ports, expirationSeconds })
const entering = (query: Record<string, string>) => `/.torpor/enter?${new URLSearchParams(query).toString()}`
const maxAgeOf = (cookies: string[] | undefined) => Number(/Max-Age=(\d+)/.exec(cookies?.[0] ?? "")?.[1])

describe("A link", () => {
  test("lets a browser in for as long as was asked, and leads it to the page without telling it the link", async () => {
    const { status, headers, body } = await browser.visit(home, await link(), { headers: FOLLOWED })
    expect([status, body, headers.location]).toEqual([303, "", "/a?b#c"])
    expect(headers).toMatchObject({ "referrer-policy": "no-referrer", "cache-control": "no-store" })
    expect(headers["set-cookie"]).toEqual([
      expect.stringMatching(/^__Host-torpor=[\w.-]+; Max-Age=300; Path=\/; Secure; HttpOnly; SameSite=Lax$/),
    ])
    expect(await browser.visit(home, "/a?b", { headers: FOLLOWED })).toMatchObject({ status: 200, body: "the page" })
    expect(seen, "and the application saw nothing of the entrance").toEqual(["/a?b mine=1; yours=2"])
  })

  test("at the endpoint itself says the port of its cookie", async () => {
    await browser.visit(edge.vm.name, await link())
    expect(await browser.visit(edge.vm.name, "/")).toMatchObject({ status: 200, body: "the page" })
  })

  test("does the same over HTTP/2, where a browser may send each of its cookies by itself", async () => {
    await using client = await connectHttp2(edge)
    const path = await link()
    const entered = await answerOf(client.open(port, { "x-aws-proxy-auth": undefined, ":path": path }))
    expect([entered.status, entered.headers.location]).toEqual([303, "/a?b#c"])
    const [cookie] = entered.headers["set-cookie"]?.[0]?.split(";") ?? []
    const headers = { "x-aws-proxy-auth": undefined, "x-aws-proxy-port": undefined }
    expect(await client.get(port, { ...headers, cookie: ["a=1", cookie ?? "", "b=2"] })).toMatchObject({ status: 200 })
    expect(await client.get(port, { ...headers, cookie: cookie ?? "", ...NEIGHBOUR })).toMatchObject({ status: 403 })
    expect(await client.get(port, headers)).toMatchObject({ status: 403 })
    expect(seen).toEqual(["/ a=1; b=2"])
  })

  test("is good once, also for two who use it at the same moment", async () => {
    const at = await link()
    const statuses = await Promise.all([1, 2, 3, 4].map(async () => (await createVisitor(edge).visit(home, at)).status))
    expect(statuses.toSorted((a, b) => a - b)).toEqual([303, 403, 403, 403])
    const { status, body } = await browser.visit(home, at)
    expect([status, body]).toEqual([403, "This link was used before, or is over: it is good once, for a minute"])
    expect(browser.cookieOf(home)).toBeUndefined()
  })

  test("is not used up by who only looks at it, frames it, or brings it to another MicroVM", async () => {
    const at = await link()
    const neighbour = await edge.addVm()
    const looks = [
      await browser.visit(home, at, { method: "HEAD" }),
      await browser.visit(home, at, { method: "POST" }),
      await browser.visit(home, at, { headers: { "sec-purpose": "prefetch;prerender" } }),
      await browser.visit(home, at, { headers: NEIGHBOUR }),
      await browser.visit(home, at, { headers: { ...FOLLOWED, "sec-fetch-dest": "iframe" } }),
    ]
    expect(looks.map(({ status }) => status)).toEqual([400, 400, 400, 400, 400])
    for (const host of [neighbour.name, `${port}-${neighbour.name}`, "nobody.vm.localhost", `0-${edge.vm.name}`])
      expect(await browser.visit(host, at)).toMatchObject({ status: 403, body: "Token authentication failed" })
    expect(await browser.visit(`${port + 1}-${edge.vm.name}`, at)).toMatchObject({
      status: 403,
      body: "Access to port denied",
    })
    expect((await browser.visit(home, at)).status).toBe(303)
  })

  test("that is forged, a token's, a cookie's, or empty is over", async () => {
    const good = (await link()).split("=")[1] ?? ""
    const cookie = await edge.tokens.mint({
      vmId: edge.vm.id,
      ports: [{ from: port, to: port }],
      expirationSeconds: 60,
      purpose: "cookie",
    })
    for (const bad of ["", "x.y.z", `${good}=`, `${good.slice(0, -8)}AAAAAAAA`, edge.vm.token, cookie])
      expect(await browser.visit(home, entering({ link: bad }))).toMatchObject({
        status: 403,
        headers: { "x-aws-proxy-error": "UNAUTHORIZED" },
      })
    expect((await browser.visit(home, entering({ link: good }))).status).toBe(303)
  })

  test("is no token: neither in a header nor in a cookie", async () => {
    const token = (await link()).split("=")[1] ?? ""
    for (const headers of [{ "x-aws-proxy-auth": token }, { cookie: `__Host-torpor=${token}` }] as Record<
      string,
      string
    >[])
      expect(await browser.visit(home, "/", { headers })).toMatchObject({
        status: 403,
        body: "Request missing authentication",
      })
  })
})

test("Who brings nothing that we signed has no name looked up", async () => {
  const router = {
    find: () => {
      throw new Error("It was looked up")
    },
  }
  const told = (query: Record<string, string>) =>
    enter({ method: "GET", path: entering(query), host: home, headers: {} }, "id", router, edge.tokens)
  await expect(told({ link: "x.y.z" })).rejects.toMatchObject({ code: "LINK_OVER" })
  await expect(told({ token: "x.y.z" })).rejects.toMatchObject({ code: "MISSING_AUTHENTICATION" })
  await expect(told({ token: await mint(undefined, -1) })).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED" })
  await expect(told({ token: await mint() })).rejects.toThrow("It was looked up")
})

describe("A token at the entrance", () => {
  test("does what a link does, and its cookie is good for no longer than itself", async () => {
    const { status, headers } = await browser.visit(home, entering({ token: await mint(), path: "/x?y=1" }))
    expect([status, headers.location]).toEqual([303, "/x?y=1"])
    expect(maxAgeOf(headers["set-cookie"])).toBeLessThanOrEqual(120)
    expect(maxAgeOf(headers["set-cookie"])).toBeGreaterThan(60)
    expect(await browser.visit(home, "/x?y=1")).toMatchObject({ status: 200, body: "the page" })
  })

  test("enters one of its ports: the host's, else the one that is said, else 8080", async () => {
    const entered = async (host: string, query: Record<string, string>) => {
      const { status, body } = await browser.visit(host, entering(query))
      return status === 303 ? status : body
    }
    const token = await mint([
      { from: port, to: port },
      { from: 8080, to: 8080 },
    ])
    expect(await entered(edge.vm.name, { token, port: String(port) })).toBe(303)
    expect(await browser.visit(edge.vm.name, "/")).toMatchObject({ status: 200 })
    expect(await entered(edge.vm.name, { token })).toBe(303)
    expect((await browser.visit(edge.vm.name, "/")).headers["x-aws-proxy-error"]).toBe("APP_CONNECT_FAILED")
    expect(await entered(home, { token, port: "8080" })).toBe("Access to port denied")
    expect(await entered(edge.vm.name, { token, port: "1" })).toBe("Access to port denied")
    expect(await entered(`1-${edge.vm.name}`, { token })).toBe("Access to port denied")
    for (const bad of ["", "0", "08", "65536", "x"])
      expect(await entered(home, { token, port: bad })).toContain("The port must be")
  })

  test("that is another's, over, or none lets nobody in", async () => {
    const other = await edge.addVm()
    const answer = async (query: Record<string, string>) => (await browser.visit(home, entering(query))).body
    expect(await answer({ token: other.token })).toBe("Token authentication failed")
    expect(await answer({ token: await mint(undefined, -1) })).toBe("Token authentication failed")
    expect(await answer({ token: "x" })).toBe("Request missing authentication")
    expect(await answer({})).toBe("Request missing authentication")
    expect(browser.cookieOf(home)).toBeUndefined()
  })

  test.for([
    "//evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "https://evil.example",
    "javascript:alert(1)",
    "evil",
    "",
    "/a b",
    "/\t/evil.example",
    "/a\r\nx: y",
    "/\u0000",
    "/é",
  ])("leads nowhere but to a path of the MicroVM's own: not to %j", async (path) => {
    const { status, headers } = await browser.visit(home, entering({ token: await mint(), path }))
    expect([status, headers.location, headers["set-cookie"]]).toEqual([400, undefined, undefined])
  })
})
