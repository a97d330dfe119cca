import { randomBytes, randomUUID } from "node:crypto"
import { once } from "node:events"
import { readdirSync } from "node:fs"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest"
import type { RegistryOptions } from "../../images/registry/open-registry.ts"
import type { Registries } from "../../images/registry/registries.ts"
import { digestOf, pushImage, startRegistry, type RegistryServer } from "./registry-server.ts"
import { fetchImage, honestImage, layerOf, openIn, PLAIN } from "./registry-under-test.ts"

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

describe("What a registry sends is refused", () => {
  const alterBlob = async (digest: string, change: (file: string) => Promise<void>) => {
    const hex = digest.slice("sha256:".length)
    await change(join(server.storage, "docker/registry/v2/blobs/sha256", hex.slice(0, 2), hex, "data"))
  }

  test("when a layer was altered in its storage, and nothing of it is kept", async () => {
    const layer = layerOf()
    await pushImage(server, "altered", "latest", { layers: [layer] })
    await alterBlob(digestOf(layer), (file) => writeFile(file, randomBytes(layer.length)))
    await using registry = await open()
    await expect(fetchImage(registry, `${server.host}/altered`)).rejects.toThrow(/cannot be fetched|something else/)
    expect(readdirSync(join(cache, "registry/blobs/sha256"))).not.toContain(digestOf(layer).slice(7))
  })

  test("when a layer is missing", async () => {
    const layer = layerOf()
    await pushImage(server, "missing", "latest", { layers: [layer] })
    await alterBlob(digestOf(layer), (file) => rm(file))
    await using registry = await open()
    await expect(fetchImage(registry, `${server.host}/missing`)).rejects.toThrow(/cannot be fetched/)
  })

  test("when it is larger than is allowed, before anything of it is fetched", async () => {
    const layer = layerOf(50_000)
    await pushImage(server, "large", "latest", { layers: [layer] })
    await using registry = await open(undefined, { maxBytes: 40_000 })
    await expect(registry.resolve(`${server.host}/large`, signal)).rejects.toThrow(
      `The base image ${server.host}/large cannot be used. Its layers have 1 MiB together, and 0 are allowed ("images.maxMiB" in TORPOR_CONFIG).`,
    )
    expect(server.requests.filter((line) => line.includes(digestOf(layer)) && line.startsWith("GET"))).toEqual([])
  })

  test("when its manifest says another size of a layer that is there already", async () => {
    const layer = layerOf(50_000)
    await pushImage(server, "lying", "honest", { layers: [layer] })
    await pushImage(server, "lying", "liar", {
      layers: [layer],
      alter: (manifest) => void ((manifest["layers"] as { size: number }[])[0]!.size = 10),
    })
    await using registry = await open()
    await fetchImage(registry, `${server.host}/lying:honest`)
    await expect(fetchImage(registry, `${server.host}/lying:liar`)).rejects.toThrow(/says that layer .* has 10 bytes/)
  })

  test("when what is asked for as an image is a layer, which is not even read", async () => {
    const layer = layerOf(5 * 1024 ** 2)
    await pushImage(server, "layered", "latest", { layers: [layer] })
    await using registry = await open()
    await fetchImage(registry, `${server.host}/layered`)
    await expect(registry.resolve(`${server.host}/layered@${digestOf(layer)}`, signal)).rejects.toThrow(
      /is larger than any manifest/,
    )
  })

  test.for<[what: string, answer: (path: string) => string | Buffer]>([
    ["a manifest without an end", () => Buffer.alloc(64 * 1024 ** 2, " ")],
    ["no manifest", () => "words"],
    [
      "a configuration without an end",
      (path) => (path.includes("/blobs/") ? Buffer.alloc(64 * 1024 ** 2, " ") : honestImage(path)),
    ],
    ["a manifest of a thousand layers", () => manifestOf(1000)],
  ])("when it is %s", async ([, answer]) => {
    const hostile = createServer((request, response) => {
      response.writeHead(200, { "content-type": "application/vnd.oci.image.manifest.v1+json" })
      response.end(request.url === "/v2/" ? "{}" : answer(request.url ?? ""))
    })
    hostile.listen(0, "127.0.0.1")
    await once(hostile, "listening")
    try {
      const host = `127.0.0.1:${(hostile.address() as AddressInfo).port}`
      await using registry = await open({ [host]: PLAIN })
      await expect(registry.resolve(`${host}/x`, signal)).rejects.toThrow(/cannot be (used|fetched)/)
    } finally {
      hostile.closeAllConnections()
      hostile.close()
    }
  })
})

const manifestOf = (layers: number) => {
  const blob = { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: `sha256:${"0".repeat(64)}`, size: 1 }
  return JSON.stringify({
    schemaVersion: 2,
    config: { ...blob, mediaType: "application/vnd.oci.image.config.v1+json" },
    layers: Array.from({ length: layers }, () => blob),
  })
}
