import { once } from "node:events"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { startTestDaemon, type TestDaemon } from "../fixtures/daemon.ts"
import { startRegistry, type RegistryServer } from "../registry/registry-server.ts"
import { startApplication } from "./dockerfiles/application.ts"
import { toTarball, toWheel } from "./dockerfiles/context.ts"
import { pushImages } from "./dockerfiles/images.ts"

const all = process.env["TORPOR_TEST_ALL"] === "1"

const opened = new AsyncDisposableStack()
let registry: RegistryServer
let daemon: TestDaemon
beforeAll(async () => {
  registry = opened.use(await startRegistry())
  await pushImages(registry, all ? ["more", "go"] : ["few"])
  const mirrored = { mirrors: [registry.host] }
  const registries = {
    [registry.host]: { insecure: true },
    "docker.io": mirrored,
    "mcr.microsoft.com": mirrored,
    "quay.io": mirrored,
  }
  daemon = opened.use(await startTestDaemon({}, { images: { registries }, readyTimeoutSeconds: 120 }))
})
afterAll(() => opened.disposeAsync())

describe("A Dockerfile as people have it", () => {
  test("of Flask, with pip, a cache, a user of its own and CMD in shell form, builds and answers", async () => {
    const wheel = await toWheel("greeting", "1.0", 'def greet(name):\n    return f"Hello, {name}!"\n')
    const packages = { "wheels/greeting-1.0-py3-none-any.whl": wheel }
    await using app = await startApplication(daemon, "flask", 5000, packages)
    expect((await app.get("/?name=<Flask>")).body).toBe("<h1>Hello, &lt;Flask&gt;!</h1> 1")
    expect((await app.get("/")).body).toBe("<h1>Hello, world!</h1> 2")
    expect(await app.json("/health")).toEqual({ user: 10001, directory: "/app", unbuffered: "1" })
  })

  test("of Starlette and uvicorn, whose packages a stage installs, builds and answers", async ({ skip }) => {
    skip(!all, "installing packages with pip is in the test of Flask too: TORPOR_TEST_ALL=1 does both")
    const wheel = await toWheel("taxes", "2.0", "def with_tax(price):\n    return price * 1.2\n")
    const packages = { "vendor/taxes-2.0-py3-none-any.whl": wheel }
    await using app = await startApplication(daemon, "starlette", 8000, packages)
    expect(await app.json("/items/1")).toEqual({ item: { name: "pen", price: 2.5 }, total: 3, user: "app" })
    expect(await app.get("/items/2")).toMatchObject({ status: 404, body: '{"detail":"no such item"}' })
    expect(await app.get("/items/two")).toMatchObject({ status: 404, body: "Not Found" })
  })

  test("of Express, with npm ci in a stage and the base's entry point, builds and answers", async ({ skip }) => {
    skip(!all, "npm takes a minute of an emulated core: TORPOR_TEST_ALL=1 does it")
    const module = "exports.totalOf = (prices) => prices.reduce((sum, price) => sum + price, 0)\n"
    const packages = { "vendor/prices-1.0.0.tgz": await toTarball("prices", "1.0.0", module) }
    await using app = await startApplication(daemon, "express", 3000, packages)
    expect(await app.json("/")).toEqual({ uid: 1000, directory: "/usr/src/app", environment: "production" })
    expect(await app.json("/total/1,2,39")).toEqual({ total: 42 })
    expect(await app.get("/nothing")).toMatchObject({ status: 404, body: "Nothing at /nothing" })
  })

  test("of static files behind nginx, which a stage makes, builds and answers", async () => {
    await using app = await startApplication(daemon, "nginx", 80)
    expect((await app.get("/")).body).toBe("<title>Built</title>\n<h1>Hello from nginx</h1>\n")
    const compressed = await app.get("/", { "accept-encoding": "gzip" })
    expect(compressed.headers).toMatchObject({ "content-encoding": "gzip" })
    expect((await app.get("/assets/site.css")).headers).toMatchObject({
      "content-type": "text/css",
      "cache-control": expect.stringContaining("immutable"),
    })
    expect(await app.get("/none")).toMatchObject({ status: 404, body: "<h1>There is no such page</h1>\n" })
    expect((await app.get("/version.txt")).body).toBe("started by root with 1.26.3\n")
  })

  test("of Go, whose one static program is all that its last stage has, builds and answers", async ({ skip }) => {
    skip(!all, "compiling Go is two minutes of an emulated core: TORPOR_TEST_ALL=1 does it")
    await using app = await startApplication(daemon, "go", 8080)
    expect(await app.json("/path")).toEqual({ path: "/path", uid: 65532, version: "1.2.3", shell: false })
  })

  test("of PHP, with its flags as CMD, a volume and www-data, builds and answers", async ({ skip }) => {
    skip(!all, "its layers take half a minute of an emulated core: TORPOR_TEST_ALL=1 has them")
    await using app = await startApplication(daemon, "php", 8000)
    expect(await app.json("/?name=<PHP>")).toEqual({
      greeting: "Hello, &lt;PHP&gt;",
      config: { built: "production" },
      user: "www-data",
      directory: "/var/www/html",
    })
  })

  test("of Ruby, with bundle install and an entry point of its own, builds and answers", async ({ skip }) => {
    skip(!all, "Bundler takes a minute of an emulated core: TORPOR_TEST_ALL=1 does it")
    await using app = await startApplication(daemon, "ruby", 9292)
    expect(await app.json("/path?q=two+words")).toEqual({
      path: "/path",
      migrated: "by root for production",
      environment: "production",
      words: ["two", "words"],
    })
  })

  test("of a shell script for each request, written in a heredoc, builds and answers", async () => {
    await using app = await startApplication(daemon, "shell", 1993)
    expect((await app.get("/notes")).body).toBe("first")
    expect((await app.get("/add/second")).status).toBe(201)
    expect((await app.get("/notes")).body).toBe("first\nsecond")
    expect(await app.get("/other")).toMatchObject({ status: 404, body: "no /other" })
  })

  test("of a notebook, whose kernels are processes of their own, builds and answers over WebSocket", async ({
    skip,
  }) => {
    skip(!all, "its layers take most of a minute of an emulated core: TORPOR_TEST_ALL=1 has them")
    await using app = await startApplication(daemon, "jupyter", 8888)
    expect(await app.json("/api/kernels")).toEqual({ one: true, two: true })
    const socket = await app.openWebSocket("/api/channels")
    const execute = async (kernel: string, code: string) => {
      socket.send(JSON.stringify({ kernel, code }))
      const [message] = (await once(socket, "message")) as [Buffer]
      return (JSON.parse(message.toString()) as { output: string }).output
    }
    expect(await execute("one", "answer += 1")).toBe("")
    expect(await execute("one", "print(answer)")).toBe("43\n")
    expect(await execute("two", "print(answer)")).toBe("42\n")
    expect(await execute("two", "1 / 0")).toContain("ZeroDivisionError")
    socket.close()
  })

  test("of a browser's kind, with many libraries and a user that is not root, builds and answers", async ({ skip }) => {
    skip(!all, "its layers take most of a minute of an emulated core: TORPOR_TEST_ALL=1 has them")
    await using app = await startApplication(daemon, "playwright", 8080)
    const { status, headers, body } = await app.get("/hello")
    expect({ status, ...headers }).toMatchObject({
      status: 200,
      "content-type": "image/png",
      "x-home": "/home/pwuser",
      "x-user": "1001",
    })
    expect(body.slice(1, 4)).toBe("PNG")
    expect(await app.get("/none")).toMatchObject({ status: 404 })
  })
})
