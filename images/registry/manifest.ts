/**
 * Manifests as registries answer them: Docker's schema 2 and OCI's, an index or one image. What they name is fetched by digest alone.
 * Sources: https://github.com/opencontainers/image-spec/blob/main/manifest.md, https://distribution.github.io/distribution/spec/manifest-v2-2/
 */
import { createHash } from "node:crypto"
import { z } from "zod"
import { wordsOf } from "../../src/words.ts"
import { RegistryError } from "./error.ts"

/** What VMs here run. */
export const OS = "linux"
export const ARCHITECTURE = "amd64"

const DIGEST = /^sha256:[0-9a-f]{64}$/
/** Docker itself takes no more. */
const MAX_LAYERS = 127
const MAX_MANIFESTS = 1000
const MAX_CONFIG_BYTES = 4 * 1024 ** 2
const MAX_TEXT = 1000

const text = z.string().max(MAX_TEXT)
const digest = z.string().regex(DIGEST, "must be 'sha256:' and 64 digits from 0-9a-f")
const descriptor = z.object({ mediaType: text, digest, size: z.int().min(0), urls: z.array(z.unknown()).nullish() })
const platform = z.object({ os: text.nullish(), architecture: text.nullish(), variant: text.nullish() })

const Index = z.object({
  schemaVersion: z.literal(2),
  manifests: z.array(z.object({ mediaType: text.nullish(), digest, platform: platform.nullish() })).max(MAX_MANIFESTS),
})
const Image = z.object({ schemaVersion: z.literal(2), config: descriptor, layers: z.array(descriptor) })

const CONFIG_TYPES = new Set([
  "application/vnd.docker.container.image.v1+json",
  "application/vnd.oci.image.config.v1+json",
])
const LAYER_TYPES = new Set([
  "application/vnd.docker.image.rootfs.diff.tar",
  "application/vnd.docker.image.rootfs.diff.tar.gzip",
  "application/vnd.docker.image.rootfs.diff.tar.zstd",
  "application/vnd.oci.image.layer.v1.tar",
  "application/vnd.oci.image.layer.v1.tar+gzip",
  "application/vnd.oci.image.layer.v1.tar+zstd",
])

export interface Blob {
  readonly digest: string
  readonly bytes: number
}

/** One image's manifest. */
export interface Manifest {
  readonly kind: "image"
  readonly config: Blob
  /** The lowest first. */
  readonly layers: readonly Blob[]
}

/** What an index says of our platform. */
interface Choice {
  readonly kind: "index"
  /** Of the manifest for our platform. */
  readonly digest: string
}

export const digestOf = (bytes: string | Buffer) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`

/** Reads either; throws a {@link RegistryError} on what cannot be built on, and says why. */
export const parseManifest = (json: string): Manifest | Choice => {
  const document = parseJson(json)
  const [isIndex, isImage] = ["manifests", "layers"].map((member) => Object.hasOwn(document, member))
  // To two readers it could be two images under one digest (CVE-2021-41190).
  if (isIndex && isImage) throw new RegistryError("Its manifest is an index and an image at once.")
  if (!isIndex && !isImage)
    throw new RegistryError(
      "Its manifest is neither schema 2 nor OCI: push the image again with a Docker of the last years.",
    )
  if (isIndex) return { kind: "index", digest: choose(check(Index, document).manifests) }
  const { config, layers } = check(Image, document)
  if (!CONFIG_TYPES.has(config.mediaType))
    throw new RegistryError(`It is no image that can be run, but ${shown(config.mediaType)}.`)
  if (config.size > MAX_CONFIG_BYTES) throw new RegistryError(`Its configuration has ${config.size} bytes.`)
  if (layers.length > MAX_LAYERS)
    throw new RegistryError(`It has ${layers.length} layers, and ${MAX_LAYERS} are as many as Docker makes.`)
  for (const { mediaType, urls } of layers) {
    if (/encrypted/.test(mediaType)) throw new RegistryError("It has an encrypted layer, and nobody here has the key.")
    if (/foreign|nondistributable/.test(mediaType) || (urls?.length ?? 0) > 0)
      throw new RegistryError("It has a foreign layer, which is not in its registry.")
    if (!LAYER_TYPES.has(mediaType)) throw new RegistryError(`It has a layer that is ${shown(mediaType)}, not a tar.`)
  }
  return { kind: "image", config: toBlob(config), layers: layers.map(toBlob) }
}

const shown = (mediaType: string) => wordsOf(mediaType, 100)

const toBlob = ({ digest: name, size }: z.infer<typeof descriptor>): Blob => ({ digest: name, bytes: size })

const choose = (manifests: z.infer<typeof Index>["manifests"]): string => {
  const found = manifests.find(({ platform: own }) => own?.os === OS && own.architecture === ARCHITECTURE)
  if (found !== undefined) return found.digest
  const others = manifests.map(({ platform: own }) => [own?.os, own?.architecture, own?.variant].filter(Boolean))
  const listed = [...new Set(others.map((parts) => parts.join("/")))].filter(
    (name) => !["", "unknown/unknown"].includes(name),
  )
  throw new RegistryError(
    `It is not there for ${OS}/${ARCHITECTURE}, only for ${wordsOf(listed.join(", "), 200) || "nothing"}.`,
  )
}

const parseJson = (json: string): object => {
  let document: unknown
  try {
    document = JSON.parse(json)
  } catch {
    // Said below.
  }
  if (typeof document !== "object" || document === null) throw new RegistryError("Its manifest is no JSON object.")
  return document
}

const check = <Schema extends z.ZodType>(schema: Schema, document: object): z.infer<Schema> => {
  const { data, error } = schema.safeParse(document)
  if (data !== undefined) return data
  const [issue] = error?.issues ?? []
  throw new RegistryError(
    `Its manifest cannot be used: ${wordsOf(issue?.path.join(".") || "it", 200)}: ${wordsOf(issue?.message ?? "", 200)}.`,
  )
}
