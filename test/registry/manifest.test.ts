import { describe, expect, test } from "vitest"
import { digestOf, parseManifest } from "../../images/registry/manifest.ts"

const DOCKER = "application/vnd.docker.image.rootfs.diff.tar"
const OCI = "application/vnd.oci.image.layer.v1.tar"
const digest = (name: string) => digestOf(name)
const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest: digest("config"), size: 7 }
const layer = (mediaType: string, more: object = {}) => ({ mediaType, digest: digest(mediaType), size: 9, ...more })
const image = (...layers: object[]) => ({ schemaVersion: 2, config, layers })
const parse = (document: unknown) => parseManifest(JSON.stringify(document))

test.each([DOCKER, `${DOCKER}.gzip`, `${DOCKER}.zstd`, OCI, `${OCI}+gzip`, `${OCI}+zstd`])(
  "An image with a layer of type %s is read",
  (type) => {
    expect(parse(image(layer(type)))).toEqual({
      kind: "image",
      config: { digest: config.digest, bytes: 7 },
      layers: [{ digest: digest(type), bytes: 9 }],
    })
  },
)

test("Docker's configuration type is one too, and an image may have no layer", () => {
  const docker = { ...config, mediaType: "application/vnd.docker.container.image.v1+json" }
  expect(parse({ schemaVersion: 2, config: docker, layers: [] })).toMatchObject({ kind: "image", layers: [] })
})

test("Of an index, what is for our platform is chosen", () => {
  const manifests = [
    { digest: digest("nowhere") },
    { digest: digest("arm"), platform: { os: "linux", architecture: "arm64", variant: "v8" } },
    { digest: digest("windows"), platform: { os: "windows", architecture: "amd64" } },
    { digest: digest("ours"), platform: { os: "linux", architecture: "amd64" } },
    { digest: digest("later"), platform: { os: "linux", architecture: "amd64", variant: "v3" } },
    { digest: digest("attestation"), platform: { os: "unknown", architecture: "unknown" } },
  ]
  expect(parse({ schemaVersion: 2, manifests })).toEqual({ kind: "index", digest: digest("ours") })
  expect(() =>
    parse({ schemaVersion: 2, manifests: manifests.filter(({ digest: own }) => own !== digest("ours")).slice(0, 3) }),
  ).toThrow("It is not there for linux/amd64, only for linux/arm64/v8, windows/amd64.")
  expect(() => parse({ schemaVersion: 2, manifests: [] })).toThrow("only for nothing.")
})

describe("A manifest is refused", () => {
  test.each<[unknown, string]>([
    ["{", "is no JSON object"],
    [null, "is no JSON object"],
    [{}, "neither schema 2 nor OCI"],
    [{ schemaVersion: 1, fsLayers: [] }, "neither schema 2 nor OCI"],
    [{ ...image(), manifests: [] }, "an index and an image at once"],
    [{ ...image(), schemaVersion: 1 }, "schemaVersion: "],
    [{ schemaVersion: 2, layers: [] }, "config: "],
    [image({ mediaType: OCI, digest: "sha256:../../etc", size: 1 }), "layers.0.digest: must be"],
    [image({ mediaType: OCI, digest: `sha512:${"a".repeat(128)}`, size: 1 }), "layers.0.digest: must be"],
    [image(layer(OCI, { size: -1 })), "layers.0.size: "],
    [image(layer(OCI, { size: 1e300 })), "layers.0.size: "],
    [image(layer(OCI, { size: "9" })), "layers.0.size: "],
    [
      { ...image(), config: { ...config, mediaType: "application/vnd.cncf.helm.config.v1+json" } },
      "no image that can be run",
    ],
    [{ ...image(), config: { ...config, size: 104_857_600 } }, "configuration has 104857600 bytes"],
    [image(layer(`${DOCKER}.foreign.gzip`)), "a foreign layer"],
    [image(layer("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")), "a foreign layer"],
    [image(layer(OCI, { urls: ["http://169.254.169.254/"] })), "a foreign layer"],
    [image(layer(`${OCI}+gzip+encrypted`)), "an encrypted layer"],
    [image(layer("application/x-\u001b[2J")), "a layer that is application/x-\\u001b[2J, not a tar"],
    [image(...Array.from({ length: 1000 }, () => layer(OCI))), "It has 1000 layers, and 127"],
    [{ schemaVersion: 2, manifests: Array.from({ length: 1001 }, () => ({ digest: digest("x") })) }, "manifests: "],
    [{ schemaVersion: 2, manifests: [{ digest: "latest" }] }, "manifests.0.digest: must be"],
  ])("%j", (document, why) => {
    const json = typeof document === "string" ? document : JSON.stringify(document)
    expect(() => parseManifest(json)).toThrow(
      expect.objectContaining({ name: "RegistryError", message: expect.stringContaining(why) }),
    )
  })
})
