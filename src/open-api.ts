/** The API of a daemon, put together over its rooms. */
import type { PostgresJsDatabase } from "drizzle-orm/postgres-js"
import type { Registry as Metrics } from "prom-client"
import type { Places } from "../machines/disks.ts"
import { createImages } from "../machines/images/images.ts"
import { createMicrovms } from "../machines/microvms/microvms.ts"
import { removeLeftBases } from "../machines/unused-bases.ts"
import { createImageStorage } from "../machines/storage.ts"
import type { VmHost } from "../machines/vm.ts"
import { createApi, type ApiParts } from "./api/app.ts"
import { createCodeLinks } from "./api/aws/functions/code/code-links.ts"
import type { AccessKeys } from "./api/aws/sigv4.ts"
import { serveApi } from "./api/server.ts"
import type { Config } from "./config.ts"
import type { Logs } from "./logs/logs.ts"
import type { MicrovmRooms } from "./microvms.ts"
import type { Rooms } from "./rooms.ts"
import type { Secrets } from "./secrets.ts"
import type { TokenKeys } from "./tokens/keys.ts"
import type { Tokens } from "./tokens/tokens.ts"

export interface OpenApiOptions
  extends
    Pick<MicrovmRooms, "microvms">,
    Omit<Rooms, "functionUrls" | keyof AsyncDisposable>,
    Pick<ApiParts, "health"> {
  readonly config: Config
  readonly db: PostgresJsDatabase
  readonly host: VmHost
  readonly places: Places
  readonly secrets: Secrets
  readonly keys: AccessKeys
  readonly tokens: Tokens
  readonly tokenKeys: TokenKeys
  readonly logs: Logs
  readonly metrics: Metrics
  /** Of which endpoints and URLs speak. */
  readonly edgePort: number
}

export interface OpenApi extends AsyncDisposable {
  readonly url: string
}

/** What a build is made on, as the API shows it. */
const MACHINE = { architecture: "X86_64", chipset: "QEMU_MICROVM", chipsetGeneration: "1" }
const GRACE_MS = 10_000

/** Serves it; disposing takes no more requests, and cuts those that take longer than their grace. */
export const openApi = async (options: OpenApiOptions): Promise<OpenApi> => {
  const { config, db, host, places, secrets, keys, tokens, tokenKeys, store, logs, registry, edgePort } = options
  const { layers, snapshots, functions, serving } = options
  const { hostId, ledger, log } = host
  const suffixOf = (kind: "vm" | "lambda-url") => `${kind}.${config.domain}${edgePort === 443 ? "" : `:${edgePort}`}`
  const closing = new AbortController()
  const server = await serveApi(
    createApi({
      microvms: createMicrovms({ db, hostId, places, registry: options.microvms, ledger, logs }),
      images: createImages({
        db,
        hostId,
        architecture: "x86_64",
        registry: options.imageVersions,
        quota: {
          maxUnfinished: config.maxConcurrentBuilds + config.maxQueuedBuilds,
          maxImages: config.images.maxImages,
          maxVersions: config.images.maxVersions,
          maxBasesBytes: config.images.maxBasesMiB * 1024 ** 2,
        },
        secrets,
        logs,
        removeBases: (ids) => removeLeftBases(host, ids),
      }),
      keys,
      mint: tokens,
      links: tokens.links,
      store,
      functions: {
        functions: functions.verbs,
        links: createCodeLinks(secrets.derive("function-code-links").toString("hex"), functions.codes.keyOf),
        invoking: { ...serving, invoker: serving.invoking.invoker },
        urlSuffix: suffixOf("lambda-url"),
        runtimes: Object.keys(config.functions.runtimes),
      },
      archive: logs.archive,
      storage: createImageStorage({
        host,
        dataDirectory: places.dataDirectory,
        layers,
        registry,
        snapshots,
        store,
      }),
      tokenKeys,
      health: options.health,
      metrics: options.metrics,
      metricsReaders: config.metrics.readers,
      maxBodiesBytes: config.maxApiBodiesMiB * 1024 ** 2,
      config: { lenient: config.lenient, endpointSuffix: suffixOf("vm"), machine: MACHINE },
      log,
      closing: closing.signal,
    }),
    config.api,
  )
  return {
    url: server.url,
    [Symbol.asyncDispose]() {
      closing.abort()
      return server.close(GRACE_MS)
    },
  }
}
