/** Debian's docker-registry in a process of its own, and images put into it by its own API, so that they can be anything. */
import { execFileSync, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { copyFile, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises"
import { request as sendHttp } from "node:http"
import { request as sendHttps } from "node:https"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { text } from "node:stream/consumers"
import { parseConfig } from "../../src/config.ts"
import { unpackPackages } from "../fixtures/debian-packages.ts"

export interface RegistryServer extends AsyncDisposable {
  /** `127.0.0.1:<port>`. */
  readonly host: string
  /** Its storage: `docker/registry/v2/…`. */
  readonly storage: string
  /** When it speaks TLS. */
  readonly caFile: string
  /** The requests that it has answered: `GET /v2/…`. */
  readonly requests: readonly string[]
  /** Ends the process; what it stored stays until it is disposed. */
  stop(): Promise<void>
  put(path: string, type: string, body: Buffer | string): Promise<void>
}

/** bcrypt of what {@link LOGIN} says, made by htpasswd(1). */
const HTPASSWD = "someone:$2y$05$LiYwi0qZGC4nOZi93hMyxO/iaf7ft4aBHFEnc0gxDmdo0yQzuxDIy\n"
export const LOGIN = { username: "someone", password: "the password" }

/** The program, not installed: its package would start a service. */
const findProgram = async (): Promise<string> => {
  const { cacheDirectory } = parseConfig({ TORPOR_CACHE_DIR: process.env["TORPOR_CACHE_DIR"] })
  const kept = join(cacheDirectory, "test/docker-registry")
  if (!existsSync(kept)) {
    const unfinished = await mkdtemp(join(tmpdir(), "torpor-docker-registry-"))
    await unpackPackages(["docker-registry"], unfinished)
    await mkdir(join(cacheDirectory, "test"), { recursive: true })
    // Whole or not at all.
    await copyFile(join(unfinished, "usr/bin/docker-registry"), `${kept}.${process.pid}`)
    await rename(`${kept}.${process.pid}`, kept)
    await rm(unfinished, { recursive: true })
  }
  return kept
}

/** Starts one on a free port; disposing it ends it and removes what it has stored. */
export const startRegistry = async (
  options: { readonly tls?: boolean; readonly login?: boolean } = {},
): Promise<RegistryServer> => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-registry-"))
  const [storage, caFile, key] = ["storage", "ca.pem", "key.pem"].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ]
  await writeFile(join(directory, "htpasswd"), HTPASSWD)
  if (options.tls)
    execFileSync(
      "openssl",
      [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=registry",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        key,
        "-out",
        caFile,
      ],
      { stdio: "ignore" },
    )
  const config = {
    version: 0.1,
    log: { accesslog: { disabled: false }, level: "info", formatter: "json" },
    storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
    http: { addr: "127.0.0.1:0", ...(options.tls ? { tls: { certificate: caFile, key } } : {}) },
    ...(options.login ? { auth: { htpasswd: { realm: "tests", path: join(directory, "htpasswd") } } } : {}),
  }
  // JSON is YAML.
  await writeFile(join(directory, "config.yml"), JSON.stringify(config))
  const child = spawn(await findProgram(), ["serve", join(directory, "config.yml")], {
    stdio: ["ignore", "pipe", "pipe"],
  })
  const exited = once(child, "exit")
  const listening = Promise.withResolvers<string>()
  const requests: string[] = []
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on("line", (line) => {
      const address = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1]
      if (address !== undefined) listening.resolve(address)
      const request = /"((?:GET|HEAD) \/v2\/\S*)/.exec(line)?.[1]
      if (request !== undefined) requests.push(request)
    })
  const host = await Promise.race([
    listening.promise,
    exited.then(([code]) => Promise.reject(new Error(`docker-registry ended with ${code}`))),
  ])
  const stop = async () => {
    child.kill()
    await exited
  }
  return {
    host,
    storage,
    caFile,
    requests,
    stop,
    async put(path, type, body) {
      const send = async (method: string, at: string, headers: Record<string, string>, content?: Buffer | string) => {
        const url = new URL(at, `${options.tls ? "https" : "http"}://${host}`)
        const auth = `Basic ${Buffer.from(`${LOGIN.username}:${LOGIN.password}`).toString("base64")}`
        const request = (options.tls ? sendHttps : sendHttp)(url, {
          method,
          headers: { ...headers, authorization: auth, "content-length": String(Buffer.byteLength(content ?? "")) },
          rejectUnauthorized: false,
        } as never)
        request.end(content)
        const [response] = (await once(request, "response")) as [import("node:http").IncomingMessage]
        const words = await text(response)
        if ((response.statusCode ?? 500) >= 300) throw new Error(`${method} ${at}: ${response.statusCode} ${words}`)
        return response.headers.location ?? ""
      }
      if (type !== "blob") {
        await send("PUT", path, { "content-type": type }, body)
        return
      }
      const location = await send("POST", `${path}uploads/`, {})
      const url = new URL(location, `http://${host}`)
      url.searchParams.set("digest", digestOf(body))
      await send("PUT", `${url.pathname}${url.search}`, { "content-type": "application/octet-stream" }, body)
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) await stop()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

export const digestOf = (bytes: Buffer | string) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`

export interface PushedImage {
  /** Of its manifest. */
  readonly digest: string
  readonly layers: readonly string[]
}

export interface ImageToPush {
  /** Archives as they are, the lowest first. */
  readonly layers: readonly Buffer[]
  /** The configuration's `config`. */
  readonly config?: Record<string, unknown>
  readonly architecture?: string
  /** Changes the manifest before it is pushed. */
  readonly alter?: (manifest: Record<string, unknown>) => void
}

const OCI = "application/vnd.oci.image"

/** Puts an image into a registry under a tag. */
export const pushImage = async (
  registry: RegistryServer,
  name: string,
  tag: string,
  { layers, config = {}, architecture = "amd64", alter = () => {} }: ImageToPush,
): Promise<PushedImage> => {
  const document = JSON.stringify({
    os: "linux",
    architecture,
    config,
    rootfs: { type: "layers", diff_ids: layers.map((layer) => digestOf(layer)) },
  })
  for (const blob of [...layers, document]) await registry.put(`/v2/${name}/blobs/`, "blob", blob)
  const manifest = {
    schemaVersion: 2,
    mediaType: `${OCI}.manifest.v1+json`,
    config: { mediaType: `${OCI}.config.v1+json`, digest: digestOf(document), size: document.length },
    layers: layers.map((layer) => ({
      mediaType: `${OCI}.layer.v1.tar+gzip`,
      digest: digestOf(layer),
      size: layer.length,
    })),
  }
  alter(manifest)
  const body = JSON.stringify(manifest)
  await registry.put(`/v2/${name}/manifests/${tag}`, manifest.mediaType, body)
  return { digest: digestOf(body), layers: layers.map(digestOf) }
}

/** Puts an index of images that are there already under a tag. */
export const pushIndex = async (
  registry: RegistryServer,
  name: string,
  tag: string,
  images: readonly { readonly digest: string; readonly architecture: string }[],
): Promise<string> => {
  const body = JSON.stringify({
    schemaVersion: 2,
    mediaType: `${OCI}.index.v1+json`,
    manifests: images.map(({ digest, architecture }) => ({
      mediaType: `${OCI}.manifest.v1+json`,
      digest,
      size: 1,
      platform: { os: "linux", architecture },
    })),
  })
  await registry.put(`/v2/${name}/manifests/${tag}`, `${OCI}.index.v1+json`, body)
  return digestOf(body)
}
