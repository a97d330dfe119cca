import { createHash } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { LambdaMicrovms, type LambdaMicrovmsClientConfig } from "@aws-sdk/client-lambda-microvms"
import { S3, type S3ClientConfig } from "@aws-sdk/client-s3"
import { pino } from "pino"
import { Registry } from "prom-client"
import { createApi, type ApiParts } from "../../src/api/app.ts"
import type { AccessKeys } from "../../src/api/aws/sigv4.ts"
import { serveApi } from "../../src/api/server.ts"
import { openArtifactStore, type ArtifactStoreLimits } from "../../src/store/artifact-store.ts"
import { openTokenKeys } from "../../src/tokens/keys.ts"
import { createLinks } from "../../src/tokens/links.ts"
import type { PortRange } from "../../src/tokens/tokens.ts"
import { createMemoryKeyStore } from "../tokens/memory-key-store.ts"
import {
  createMemoryArchive,
  createMemoryImages,
  createMemoryMicrovms,
  createMemoryStorage,
} from "./memory-resources.ts"

export const account = "000000000000"
export const region = "eu-central-1"
export const credentials = { accessKeyId: "AKIATORPOR0000000001", secretAccessKey: "a secret that nobody knows" }
export const otherCredentials = { accessKeyId: "AKIATORPOR0000000002", secretAccessKey: "somebody else's secret" }

const keys: AccessKeys = {
  find: async (accessKeyId) => {
    if (accessKeyId === credentials.accessKeyId) return { account, secret: credentials.secretAccessKey }
    if (accessKeyId === otherCredentials.accessKeyId) {
      return { account: "111111111111", secret: otherCredentials.secretAccessKey }
    }
    return undefined
  },
}

/** A token anybody can read, to see what was granted. */
export interface Grant {
  vmId: string
  ports: readonly PortRange[]
  expirationSeconds: number
}

/** Serves the API on a free port of the loopback, with resources in memory and a store in a directory of its own. */
export const startApi = async (
  options: { limits?: ArtifactStoreLimits; lenient?: boolean } & Partial<ApiParts> = {},
) => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-api-"))
  const logged: string[] = []
  const images = createMemoryImages()
  const store = await openArtifactStore(join(directory, "store"), options.limits)
  const tokenKeys = await openTokenKeys(createMemoryKeyStore())
  const app = createApi({
    images,
    microvms: createMemoryMicrovms(images),
    keys,
    mint: { mint: async (grant: Grant) => JSON.stringify(grant) },
    store,
    storage: createMemoryStorage(),
    archive: createMemoryArchive(),
    tokenKeys,
    links: createLinks(tokenKeys),
    health: async () => ({ ok: true }),
    metrics: new Registry(),
    config: {
      lenient: options.lenient ?? false,
      endpointSuffix: "vm.localhost:7443",
      machine: { architecture: "X86_64", chipset: "QEMU_MICROVM", chipsetGeneration: "1" },
    },
    log: pino({ level: "debug" }, { write: (line: string) => void logged.push(line) }),
    ...options,
  })
  const server = await serveApi(app, { address: "127.0.0.1", port: 0 })
  const clients: { destroy(): void }[] = []
  const kept = <Client extends { destroy(): void }>(client: Client) => {
    clients.push(client)
    return client
  }
  return {
    app,
    url: server.url,
    port: server.port,
    directory,
    store,
    images,
    logged,
    client: (config: LambdaMicrovmsClientConfig = {}) =>
      kept(new LambdaMicrovms({ endpoint: server.url, region, credentials, maxAttempts: 1, ...config })),
    s3: (config: S3ClientConfig = {}) =>
      kept(new S3({ endpoint: server.url, region, credentials, forcePathStyle: true, maxAttempts: 1, ...config })),
    [Symbol.asyncDispose]: async () => {
      for (const client of clients) client.destroy()
      await server[Symbol.asyncDispose]()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

export type ApiUnderTest = Awaited<ReturnType<typeof startApi>>

/** Creates an image called `app`, as its own account in a region; resolves with its ARN. */
export const createApp = async (client: LambdaMicrovms, at = region): Promise<string> => {
  await client.createMicrovmImage({
    name: "app",
    baseImageArn: `arn:aws:lambda:${at}:aws:microvm-image:debian-13`,
    buildRoleArn: "arn:aws:iam::000000000000:role/build",
    codeArtifact: { uri: "s3://artifacts/app.zip" },
  })
  return `arn:aws:lambda:${at}:${account}:microvm-image:app`
}

/** The hash of a body as SigV4 wants it. */
export const sha256Hex = (body: string | Uint8Array) => createHash("sha256").update(body).digest("hex")

/** What a call was refused with. */
export const refusalOf = async (call: Promise<unknown>) => {
  try {
    await call
  } catch (error) {
    const { name, message, $metadata } = error as Error & { $metadata?: { httpStatusCode?: number } }
    return { name, message, status: $metadata?.httpStatusCode }
  }
  throw new Error("the call was not refused")
}
