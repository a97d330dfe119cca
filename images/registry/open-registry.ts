/** {@link Registry} by way of skopeo, into the cache. */
import { lookup } from "node:dns/promises"
import { mkdir, rm, statfs } from "node:fs/promises"
import { join } from "node:path"
import { runCommand } from "../../src/command.ts"
import { lock } from "../../src/file-lock.ts"
import { fetchRules, fetchTable, type FetchTarget } from "../../src/net/fetch-rules.ts"
import { hostNameServers } from "../../src/net/name-server.ts"
import { openBlobs, type Blobs } from "./blobs.ts"
import { RegistryError } from "./error.ts"
import { parseImageConfig } from "./image-config.ts"
import { digestOf, parseManifest, type Manifest } from "./manifest.ts"
import { parseReference, pinned, toText, type Reference } from "./reference.ts"
import { hostOf, type Registries } from "./registries.ts"
import type { Registry, ResolvedImage } from "./registry.ts"
import { openSkopeo } from "./skopeo.ts"
import { openWorkplace } from "./workplace.ts"

export interface RegistryOptions {
  readonly hostId: string
  readonly cacheDirectory: string
  /** Nobody else's: see {@link fetchUid}. */
  readonly uid: number
  readonly registries: Registries
  /** Of all of an image's layers together, as they are fetched. */
  readonly maxBytes: number
  /** Of all that is kept, but for what was used within the last hour. */
  readonly maxCacheBytes: number
  readonly timeoutMs: number
}

export interface OpenRegistry extends Registry, AsyncDisposable, Pick<Blobs, "usage" | "prune"> {}

const MAX_MANIFEST_BYTES = 4 * 1024 ** 2
const MAX_CONFIG_BYTES = 4 * 1024 ** 2
/** Left free on the cache's disk. */
const RESERVED_BYTES = 1024 ** 3
const MIB = 1024 ** 2
/** For what takes moments. */
const PATIENCE_MS = 30_000

/** As many as there can be at most. */
const SLOT_UIDS = 65_536

/** Daemons of one host have a user each, so that what one may reach another may not. Behind the slots': before them may be root. */
export const fetchUid = (slotUidBase: number, hostId: string): number =>
  slotUidBase + SLOT_UIDS + (Number.parseInt(hostId.slice(0, 8), 16) % 1000)

/** Opens it; disposing removes its rules. */
export const openRegistry = async (options: RegistryOptions): Promise<OpenRegistry> => {
  const root = join(options.cacheDirectory, "registry")
  const locks = join(root, "locks")
  const blobs = await openBlobs(root)
  await mkdir(locks, { recursive: true })
  const workplace = await openWorkplace(root, options.hostId, AbortSignal.timeout(PATIENCE_MS))
  const skopeoFor = ({ registry }: Reference) =>
    openSkopeo({ directory: workplace.path, uid: options.uid, registries: options.registries, registry })

  /** Written before each fetch: names may lead elsewhere by now. */
  const restrict = async (signal: AbortSignal) => {
    const nameServers = (await hostNameServers()).flatMap(({ address, port }) =>
      address.includes(":") ? [] : [{ address, port }],
    )
    const allowed = await targetsOf(options.registries)
    const input = fetchRules(options.hostId, options.uid, nameServers, allowed)
    await runCommand("nft", ["-f", "-"], { signal, input })
  }

  /** A manifest by digest, from the cache or the registry. */
  const manifestOf = async (reference: Reference, digest: string, signal: AbortSignal): Promise<string> => {
    const kept = await blobs.read(digest)
    if (kept !== undefined) return kept
    await blobs.prune(options.maxCacheBytes)
    const text = await ask(["--raw"], reference, pinned(reference, digest), MAX_MANIFEST_BYTES, signal)
    await blobs.put(digest, text)
    return text
  }

  const ask = async (
    args: readonly string[],
    reference: Reference,
    text: string,
    maxBytes: number,
    signal: AbortSignal,
  ) => {
    await restrict(signal)
    await using call = await skopeoFor(reference)
    return await call.inspect(args, text, maxBytes, signal)
  }

  const find = async (
    text: string,
    signal: AbortSignal,
  ): Promise<ResolvedImage & { readonly manifest: Manifest; readonly parsed: Reference }> => {
    const parsed = parseReference(text)
    let digest = parsed.digest
    let json = digest === undefined ? undefined : await blobs.read(digest)
    if (json === undefined) {
      await blobs.prune(options.maxCacheBytes)
      json = await ask(["--raw"], parsed, toText(parsed), MAX_MANIFEST_BYTES, signal)
      digest ??= digestOf(json)
      await blobs.put(digest, json)
    }
    let manifest = parseManifest(json)
    if (manifest.kind === "index") {
      digest = manifest.digest
      manifest = parseManifest(await manifestOf(parsed, digest, signal))
    }
    if (manifest.kind === "index") throw new RegistryError("Its index names another index.")
    const { config: configBlob, layers } = manifest
    let config = await blobs.read(configBlob.digest)
    if (config === undefined) {
      config = await ask(["--raw", "--config"], parsed, pinned(parsed, digest!), MAX_CONFIG_BYTES, signal)
      await blobs.put(configBlob.digest, config)
    }
    const { config: base, layers: known } = parseImageConfig(config)
    if (known !== layers.length)
      throw new RegistryError(`Its manifest has ${layers.length} layers, and its configuration knows of ${known}.`)
    const bytes = layers.reduce((sum, layer) => sum + layer.bytes, 0)
    if (bytes > options.maxBytes)
      throw new RegistryError(
        `Its layers have ${Math.ceil(bytes / MIB)} MiB together, and ${Math.floor(options.maxBytes / MIB)} are allowed ("images.maxMiB" in TORPOR_CONFIG).`,
      )
    const content = digestOf(layers.map((layer) => layer.digest).join())
    return { reference: pinned(parsed, digest!), digest: digest!, content, config: base, bytes, manifest, parsed }
  }

  /** Words of an error get the image's name before them, once; that it took too long is one of them. */
  const named = async <Answer>(
    text: string,
    signal: AbortSignal,
    work: (within: AbortSignal) => Promise<Answer>,
  ): Promise<Answer> => {
    const patience = AbortSignal.timeout(options.timeoutMs)
    try {
      return await work(AbortSignal.any([signal, patience]))
    } catch (error) {
      signal.throwIfAborted()
      if (patience.aborted)
        throw new RegistryError(
          `The base image ${text.slice(0, 200)} could not be fetched within ${options.timeoutMs / 1000} s ("images.fetchTimeoutSeconds" in TORPOR_CONFIG).`,
        )
      if (!(error instanceof RegistryError) || !/^(?:It|Its|What|The registry)\b/.test(error.message)) throw error
      throw new RegistryError(`The base image ${text.slice(0, 200)} cannot be used. ${error.message}`)
    }
  }

  return {
    resolve: (reference, signal) => named(reference, signal, (within) => find(reference, within)),
    fetch: (text, log, signal) =>
      named(text, signal, async (within) => {
        const image = await find(text, within)
        const lockFile = join(locks, image.digest.slice("sha256:".length))
        await using stack = new AsyncDisposableStack()
        stack.use(
          await lock(lockFile, within, () => log(`Waiting: ${image.reference} is being fetched by another build`)),
        )
        // While it is held: who waits has it open, and one who comes later makes another and finds all there.
        stack.defer(() => rm(lockFile, { force: true }))
        const missing = []
        for (const layer of image.manifest.layers) if (!(await blobs.has(layer))) missing.push(layer)
        if (missing.length > 0) {
          const bytes = missing.reduce((sum, layer) => sum + layer.bytes, 0)
          await blobs.prune(Math.max(options.maxCacheBytes - bytes, 0))
          const { bavail, bsize } = await statfs(workplace.path)
          if (bavail * bsize < bytes + RESERVED_BYTES)
            throw new RegistryError(`Its layers need ${Math.ceil(bytes / MIB)} MiB, and the cache's disk has no room.`)
          log(`Fetching ${image.reference}: ${missing.length} layers, ${(bytes / MIB).toFixed(1)} MiB`)
          await restrict(within)
          await using call = await skopeoFor(image.parsed)
          for (const { digest } of image.manifest.layers)
            if (!missing.some((layer) => layer.digest === digest))
              await blobs.lend(digest, join(call.blobs, "sha256", digest.slice("sha256:".length))).catch(() => {})
          await call.copy(image.reference, Math.max(...missing.map((layer) => layer.bytes)) + MIB, within)
          // The same layer may be there twice.
          for (const layer of new Map(missing.map((one) => [one.digest, one])).values())
            await blobs.take(layer, join(call.blobs, "sha256", layer.digest.slice("sha256:".length)))
        }
        const layers = image.manifest.layers.map(({ digest, bytes }) => ({ digest, bytes, file: blobs.fileOf(digest) }))
        const { reference, digest, content, config, bytes } = image
        return { reference, digest, content, config, bytes, layers }
      }),
    usage: blobs.usage,
    prune: blobs.prune,
    async [Symbol.asyncDispose]() {
      const table = fetchTable(options.hostId)
      const signal = AbortSignal.timeout(PATIENCE_MS)
      await runCommand("nft", ["delete", "table", "inet", table], { signal }).catch(() => "")
      await workplace[Symbol.asyncDispose]()
    },
  }
}

/** Where the operator's registries and their mirrors are now. One whose name leads nowhere is not reached, and skopeo says so. */
const targetsOf = async (registries: Registries): Promise<FetchTarget[]> => {
  const hosts = new Map<string, boolean>()
  for (const [host, { insecure, mirrors }] of Object.entries(registries)) {
    hosts.set(host, insecure)
    for (const mirror of mirrors) hosts.set(hostOf(mirror), registries[hostOf(mirror)]?.insecure ?? false)
  }
  const found = await Promise.all(
    [...hosts].map(async ([host, insecure]) => {
      const [name = "", port] = host.split(":")
      const addresses = await lookup(name, { all: true, family: 4 }).catch(() => [])
      const ports = port === undefined ? (insecure ? [443, 80] : [443]) : [Number(port)]
      return addresses.flatMap(({ address }) => ports.map((one): FetchTarget => ({ address, port: one })))
    }),
  )
  return found.flat()
}
