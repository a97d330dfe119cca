/** A registry's client over a cache of the test's own, and what it is held against. */
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { gzipSync } from "node:zlib"
import { fetchUid, openRegistry, type OpenRegistry, type RegistryOptions } from "../../images/registry/open-registry.ts"
import type { Registries } from "../../images/registry/registries.ts"
import { digestOf } from "./registry-server.ts"

export const PLAIN = { insecure: true, mirrors: [] }
export const layerOf = (bytes = 1000) => gzipSync(randomBytes(bytes))

/** Opens one with limits that no test reaches unless it says so. */
export const openIn = (
  cacheDirectory: string,
  hostId: string,
  registries: Registries,
  more: Partial<RegistryOptions> = {},
): Promise<OpenRegistry> =>
  openRegistry({
    hostId,
    cacheDirectory,
    uid: fetchUid(600_000, more.hostId ?? hostId),
    registries,
    maxBytes: 1024 ** 3,
    maxCacheBytes: 1024 ** 3,
    timeoutMs: 120_000,
    ...more,
  })

/** An image with what its log says of it. */
export const fetchImage = async (registry: OpenRegistry, reference: string) => {
  const log: string[] = []
  const image = await registry.fetch(reference, (line) => log.push(line), new AbortController().signal)
  return { ...image, log }
}

export const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
export const LAYER = layerOf(5000)
/** What a registry says of an image with one layer, but for the layer. */
export const honestImage = (path: string): string => {
  const config = JSON.stringify({ os: "linux", architecture: "amd64", config: {}, rootfs: { diff_ids: ["sha256:x"] } })
  const blob = (mediaType: string, content: string | Buffer) => ({
    mediaType: `application/vnd.oci.image.${mediaType}`,
    digest: digestOf(content),
    size: content.length,
  })
  return path.endsWith(digestOf(config))
    ? config
    : JSON.stringify({
        schemaVersion: 2,
        mediaType: OCI_MANIFEST,
        config: blob("config.v1+json", config),
        layers: [blob("layer.v1.tar+gzip", LAYER)],
      })
}

/** A server that is whatever the test wants, on a port of 127.0.0.1. */
export const listen = async (answer: (request: IncomingMessage, response: ServerResponse) => unknown) => {
  const asked = Promise.withResolvers<void>()
  const listening = createServer((request, response) => {
    asked.resolve()
    answer(request, response)
  }).listen(0, "127.0.0.1")
  await once(listening, "listening")
  return {
    host: `127.0.0.1:${(listening.address() as AddressInfo).port}`,
    asked: asked.promise,
    async [Symbol.asyncDispose]() {
      listening.closeAllConnections()
      await new Promise((resolve) => listening.close(resolve))
    },
  }
}
