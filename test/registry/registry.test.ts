import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { existsSync, readdirSync, statSync } from "node:fs"
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { fetchUid, type RegistryOptions } from "../../images/registry/open-registry.ts"
import type { Registries } from "../../images/registry/registries.ts"
import { runCommand } from "../../src/command.ts"
import { fetchTable } from "../../src/net/fetch-rules.ts"
import { digestOf, LOGIN, pushImage, pushIndex, startRegistry, type RegistryServer } from "./registry-server.ts"
import { fetchImage, honestImage, LAYER, layerOf, listen, OCI_MANIFEST, openIn, PLAIN } from "./registry-under-test.ts"

const signal = new AbortController().signal
const hostId = randomUUID()

let cache: string
let server: RegistryServer
beforeAll(async () => void (server = await startRegistry()))
afterAll(() => server?.[Symbol.asyncDispose]())
beforeEach(async () => void (cache = await mkdtemp(join(tmpdir(), "torpor-cache-"))))
afterEach(() => rm(cache, { recursive: true, force: true }))

const open = (registries: Registries = { [server.host]: PLAIN }, more: Partial<RegistryOptions> = {}) =>
  openIn(cache, hostId, registries, more)
/** Beside one that is open. */
const another = () => ({ hostId: randomUUID() })

describe("An image", () => {
  test("is resolved by its tag, and its layers are in the cache, root's and whole", async () => {
    const layers = [layerOf(), layerOf(100_000)]
    const config = { Env: ["PATH=/bin", "A=b"], Cmd: ["/app"], User: "1000", ExposedPorts: { "80/tcp": {} } }
    const pushed = await pushImage(server, "some/app", "v1", { layers, config })
    await using registry = await open()
    const resolved = await registry.resolve(`${server.host}/some/app:v1`, signal)
    expect(resolved).toMatchObject({
      reference: `${server.host}/some/app@${pushed.digest}`,
      digest: pushed.digest,
      bytes: layers[0]!.length + layers[1]!.length,
      config: { environment: { PATH: "/bin", A: "b" }, command: ["/app"], user: "1000", exposedPorts: [80] },
    })
    const image = await fetchImage(registry, resolved.reference)
    expect(image.log).toEqual([expect.stringMatching(/^Fetching .*: 2 layers, 0\.1 MiB$/)])
    for (const [index, { file, digest, bytes }] of image.layers.entries()) {
      expect(await readFile(file)).toEqual(layers[index])
      expect(digest).toBe(pushed.layers[index])
      expect(statSync(file)).toMatchObject({ uid: 0, mode: 0o100444, size: bytes })
    }
    expect(readdirSync(join(cache, "registry", `fetching-${hostId.slice(0, 8)}`))).toEqual([])
  })

  test("that was fetched once needs no registry again, by its digest; a tag is asked for each time", async () => {
    await using other = await startRegistry()
    const pushed = await pushImage(other, "kept", "latest", { layers: [layerOf()] })
    await using registry = await open({ [other.host]: PLAIN })
    await fetchImage(registry, `${other.host}/kept`)
    await other.stop()
    expect((await fetchImage(registry, `${other.host}/kept@${pushed.digest}`)).log).toEqual([])
    await expect(registry.resolve(`${other.host}/kept:latest`, signal)).rejects.toThrow(/connection refused/)
  })

  test("of several architectures is the one that VMs here run, and one that isn't there is refused with those that are", async () => {
    const images = await Promise.all(
      ["arm64", "amd64"].map(async (architecture) => ({
        architecture,
        ...(await pushImage(server, "multi", architecture, { layers: [layerOf()], architecture })),
      })),
    )
    await pushIndex(server, "multi", "all", images)
    await pushIndex(server, "multi", "arm", images.slice(0, 1))
    await using registry = await open()
    expect((await registry.resolve(`${server.host}/multi:all`, signal)).digest).toBe(images[1]!.digest)
    await expect(registry.resolve(`${server.host}/multi:arm`, signal)).rejects.toThrow(
      "It is not there for linux/amd64, only for linux/arm64.",
    )
  })

  test("whose tag moved is another one, and of it only what is new is fetched", async () => {
    const [shared, first, second] = [layerOf(), layerOf(), layerOf()]
    await pushImage(server, "moved", "tag", { layers: [shared, first] })
    await using registry = await open()
    const before = await fetchImage(registry, `${server.host}/moved:tag`)
    await pushImage(server, "moved", "tag", { layers: [shared, second] })
    const after = await fetchImage(registry, `${server.host}/moved:tag`)
    expect(after.digest).not.toBe(before.digest)
    expect(after.log).toEqual([expect.stringContaining("1 layers")])
    expect(after.layers[0]).toEqual(before.layers[0])
    const asked = server.requests.filter((line) => line.startsWith("GET") && line.includes(digestOf(shared)))
    expect(asked).toHaveLength(1)
  })

  test("is fetched once by two who want it at once", async () => {
    const layer = layerOf(300_000)
    await pushImage(server, "twice", "latest", { layers: [layer] })
    await using registry = await open()
    const both = await Promise.all([1, 2].map(() => fetchImage(registry, `${server.host}/twice`)))
    expect(both[0]!.layers).toEqual(both[1]!.layers)
    expect(server.requests.filter((line) => line.startsWith("GET") && line.includes(digestOf(layer)))).toHaveLength(1)
    expect(readdirSync(join(cache, "registry/locks"))).toEqual([])
  })

  test("makes room for itself: what was used least recently goes when there is too much", async () => {
    for (const tag of ["old", "new"]) await pushImage(server, "room", tag, { layers: [layerOf(200_000)] })
    await using registry = await open(undefined, { maxCacheBytes: 300_000 })
    const { layers } = await fetchImage(registry, `${server.host}/room:old`)
    await runCommand("touch", ["-d", "2 hours ago", layers[0]!.file], { signal })
    await fetchImage(registry, `${server.host}/room:new`)
    expect(existsSync(layers[0]!.file)).toBe(false)
  })

  test("is fetched by a user whom nobody else is, however low the slots' begin", () => {
    for (const mark of ["00000000", "ffffffff", "000003e7"])
      expect(fetchUid(1000, mark)).toBeGreaterThanOrEqual(1000 + 65_536)
  })

  test("has the content of another that only starts differently, and not that of one with other layers", async () => {
    const layers = [layerOf(1000), layerOf(2000)]
    await pushImage(server, "one", "latest", { layers, config: { Cmd: ["one"] } })
    await pushImage(server, "two", "latest", { layers, config: { Cmd: ["two"] } })
    await pushImage(server, "three", "latest", { layers: layers.toReversed(), config: { Cmd: ["one"] } })
    await using registry = await open()
    const [one, two, three] = await Promise.all(
      ["one", "two", "three"].map((name) => registry.resolve(`${server.host}/${name}`, signal)),
    )
    expect(one?.content).toBe(two?.content)
    expect(one?.digest).not.toBe(two?.digest)
    expect(one?.content).not.toBe(three?.content)
  })

  test("is pruned when it is the least recently used, and not while it may be in use", async () => {
    await pushImage(server, "pruned", "latest", { layers: [layerOf(200_000)] })
    await using registry = await open()
    const { layers } = await fetchImage(registry, `${server.host}/pruned`)
    const { bytes } = await registry.usage()
    expect(bytes).toBeGreaterThan(200_000)
    expect(await registry.prune(0)).toEqual({ count: 0, bytes: 0 })
    await runCommand("touch", ["-d", "2 hours ago", layers[0]!.file], { signal })
    expect((await registry.prune(bytes - 1)).bytes).toBeGreaterThan(200_000)
    expect(existsSync(layers[0]!.file)).toBe(false)
    expect((await fetchImage(registry, `${server.host}/pruned`)).log).toHaveLength(1)
  })
})

describe("A registry", () => {
  test("with a login and an own CA is reached as the operator says, and its password is told to nobody", async () => {
    await using closed = await startRegistry({ tls: true, login: true })
    await pushImage(closed, "private", "latest", { layers: [layerOf()] })
    const passwordFile = join(cache, "password")
    await writeFile(passwordFile, `${LOGIN.password}\n`)
    const settings = { insecure: false, mirrors: [], caFile: closed.caFile, username: LOGIN.username }
    await using registry = await open({ [closed.host]: { ...settings, passwordFile } })
    expect((await fetchImage(registry, `${closed.host}/private`)).layers).toHaveLength(1)

    await using wrong = await open({ [closed.host]: { ...settings, password: "a wrong secret" } }, another())
    const refusal = await wrong.resolve(`${closed.host}/private`, signal).catch((error: Error) => error.message)
    expect(refusal).toMatch(/unauthorized|authentication required/i)
    expect(refusal).toContain("username and password")
    expect(refusal).not.toContain("a wrong secret")
    await using untrusted = await open({ [closed.host]: { insecure: false, mirrors: [] } }, another())
    await expect(untrusted.resolve(`${closed.host}/private`, signal)).rejects.toThrow(/certificate.*caFile/)
  })

  test("that speaks plain HTTP is spoken to only where the operator says so", async () => {
    await pushImage(server, "plain", "latest", { layers: [layerOf()] })
    await using registry = await open({ [server.host]: { insecure: false, mirrors: [] } })
    await expect(registry.resolve(`${server.host}/plain`, signal)).rejects.toThrow(/"insecure": true/)
  })

  test("is asked after its mirrors", async () => {
    const pushed = await pushImage(server, "library/mirrored", "latest", { layers: [layerOf()] })
    await using registry = await open({
      [server.host]: PLAIN,
      "docker.io": { insecure: false, mirrors: [server.host] },
    })
    expect((await registry.resolve("mirrored", signal)).digest).toBe(pushed.digest)
  })

  test("that nobody has named is not reached at an address inside, and the words say what to do", async () => {
    await pushImage(server, "inside", "latest", { layers: [layerOf()] })
    await using registry = await open({})
    const before = server.requests.length
    await expect(registry.resolve(`${server.host}/inside`, signal)).rejects.toThrow(
      /"images.registries" in TORPOR_CONFIG/,
    )
    expect(server.requests.length).toBe(before)
  })

  test("that sends its clients to an address inside sends them nowhere", async () => {
    let asked = 0
    const inside = createServer((_, response) => void (asked++, response.end("secret")))
    inside.listen(0, "127.0.0.1")
    await once(inside, "listening")
    const to = `http://127.0.0.1:${(inside.address() as AddressInfo).port}`
    const redirecting = createServer((request, response) => {
      if (request.url === "/v2/") response.writeHead(200).end("{}")
      else response.writeHead(307, { location: `${to}${request.url}` }).end()
    })
    redirecting.listen(0, "127.0.0.1")
    await once(redirecting, "listening")
    try {
      const host = `127.0.0.1:${(redirecting.address() as AddressInfo).port}`
      await using registry = await open({ [host]: PLAIN })
      await expect(registry.resolve(`${host}/x`, signal)).rejects.toThrow(/cannot be fetched/)
      expect(asked).toBe(0)
    } finally {
      inside.close()
      redirecting.close()
    }
  })

  test.for<[what: string, answer: (to: string, request: IncomingMessage, response: ServerResponse) => unknown]>([
    [
      "a layer",
      (to, request, response) =>
        request.url?.endsWith(digestOf(LAYER))
          ? response.writeHead(307, { location: `${to}/layer` }).end()
          : response.end(honestImage(request.url ?? "")),
    ],
    [
      "a token",
      (to, _, response) =>
        response.writeHead(401, { "www-authenticate": `Bearer realm="${to}/token",service="x"` }).end(),
    ],
  ])("that sends its clients inside for %s sends them nowhere", async ([, answer]) => {
    let asked = 0
    await using inside = await listen((_, response) => void (asked++, response.end(LAYER)))
    await using registryServer = await listen((request, response) => {
      if (!request.url?.includes("/blobs/")) response.setHeader("content-type", OCI_MANIFEST)
      return answer(`http://${inside.host}`, request, response)
    })
    await using registry = await open({ [registryServer.host]: PLAIN })
    await expect(fetchImage(registry, `${registryServer.host}/x`)).rejects.toThrow(/cannot be fetched/)
    expect(asked).toBe(0)
    // Once the operator says that it may, it does: nothing else was in the way.
    await using open2 = await open({ [registryServer.host]: PLAIN, [inside.host]: PLAIN }, another())
    await fetchImage(open2, `${registryServer.host}/x`).catch(() => {})
    expect(asked).toBeGreaterThan(0)
  })

  test("that doesn't answer is waited for no longer than is said, or than somebody wants it", async () => {
    await using silent = await listen(() => {})
    await using registry = await open({ [silent.host]: PLAIN }, { timeoutMs: 2000 })
    await expect(registry.resolve(`${silent.host}/x`, signal)).rejects.toThrow(/could not be fetched within 2 s/)
    await using patient = await open({ [silent.host]: PLAIN }, another())
    const leaving = new AbortController()
    silent.asked.then(
      () => leaving.abort(new Error("somebody left")),
      () => {},
    )
    await expect(patient.resolve(`${silent.host}/x`, leaving.signal)).rejects.toThrow("somebody left")
  })

  test("finds away what any daemon left that was killed, and leaves alone what one has that is alive", async () => {
    const [killed, alive] = [randomUUID(), randomUUID()]
    const place = (id: string) => join(cache, "registry", `fetching-${id.slice(0, 8)}`)
    await using _ = await open({}, { hostId: alive })
    await writeFile(join(place(alive), "under-way"), "")
    for (const id of [killed, hostId]) {
      await mkdir(join(place(id), "left"), { recursive: true })
      await writeFile(join(place(id), "left/layer"), "")
    }
    await using registry = await open({})
    expect((await registry.usage()).bytes).toBe(0)
    // Beside what the registry does.
    await expect.poll(() => existsSync(place(killed))).toBe(false)
    expect(readdirSync(place(hostId))).toEqual([])
    expect(readdirSync(place(alive))).toEqual(["under-way"])
  })

  test("leaves no rule behind when it is closed", async () => {
    const tables = () => runCommand("nft", ["list", "tables"], { signal })
    await pushImage(server, "ruled", "latest", { layers: [layerOf()] })
    {
      await using registry = await open()
      await registry.resolve(`${server.host}/ruled`, signal)
      expect(await tables()).toContain(fetchTable(hostId))
    }
    expect(await tables()).not.toContain(fetchTable(hostId))
    expect(existsSync(join(cache, "registry", `fetching-${hostId.slice(0, 8)}`))).toBe(false)
  })
})
