import { randomUUID } from "node:crypto"
import { Hono } from "hono"
import type { Registry } from "prom-client"
import { notFound } from "../errors.ts"
import type { Log } from "../log.ts"
import type { LogArchive } from "../logs/archive.ts"
import type { ArtifactStore } from "../store/artifact-store.ts"
import type { Links } from "../tokens/links.ts"
import { createBodyRoom } from "./aws/body-room.ts"
import { claimedService } from "./aws/authorization.ts"
import { createFunctionsService, type FunctionsParts } from "./aws/functions/service.ts"
import type { ServiceContext } from "./aws/json-service.ts"
import { parseMicrovmId, parseUuid } from "./aws/microvms/identifiers.ts"
import { createCloudWatchLogsService } from "./aws/cloudwatch-logs/service.ts"
import { createMicrovmsService, microvmsDialect, type MicrovmsParts } from "./aws/microvms/service.ts"
import { rawTarget, type ApiEnv } from "./aws/request-body.ts"
import { createS3Service } from "./aws/s3/service.ts"
import { createVerifier, type AccessKeys } from "./aws/sigv4.ts"
import { toErrorAnswer } from "./aws/wire.ts"
import type { ImageStorage } from "../../machines/resources.ts"
import { createCancelRoute } from "./torpor/cancel.ts"
import { createLinksRoute } from "./torpor/links.ts"
import { createGroupLogRoute } from "./torpor/group-log.ts"
import { createLogRoute, type FindLog } from "./torpor/log.ts"
import { createRotateRoute } from "./torpor/keys.ts"
import { createMetricsRoute } from "./torpor/metrics.ts"
import { createUsageRoute } from "./torpor/function-usage.ts"
import { createStorageRoute } from "./torpor/storage.ts"

/** How the daemon is: `ok` decides between 200 and 503, the rest is shown. */
export interface Health {
  readonly ok: boolean
  readonly [detail: string]: unknown
}

export interface ApiParts extends MicrovmsParts {
  readonly keys: AccessKeys
  readonly store: ArtifactStore
  readonly storage: ImageStorage
  /** Left out where there is no database: Lambda's functions are then unknown. */
  readonly functions?: FunctionsParts
  /** Everything that logs are kept of. */
  readonly archive: LogArchive
  /** Makes links for browsers. */
  readonly links: Pick<Links, "mint">
  /** What tokens are signed with: shown, and replaced. */
  readonly tokenKeys: { jwks(): Promise<{ keys: readonly object[] }>; rotate(): Promise<string> }
  readonly health: () => Promise<Health>
  readonly metrics: Registry
  /** IPv4 ranges whose hosts read the metrics unsigned, as this machine itself does. */
  readonly metricsReaders?: readonly string[]
  readonly log: Log
  /** Of bodies that are in memory, of all requests that are not answered yet together; uploads to the artifact store are in none. */
  readonly maxBodiesBytes?: number
  /** The clock that signatures are held against, in milliseconds. */
  readonly now?: () => number
  /** Aborted when the service is about to close. */
  readonly closing?: AbortSignal
}

/** The largest JSON body. */
const maxBodyBytes = 6 * 1024 * 1024
const defaultMaxBodiesBytes = 512 * 1024 * 1024
const maxTargetLength = 8 * 1024

/**
 * Everything on the API port. What is signed for S3 goes to the artifact store, whatever its path, and what is signed for CloudWatch Logs there;
 * then our few open paths, then our own signed ones, and all else is AWS Lambda's.
 */
export const createApi = (parts: ApiParts): Hono<ApiEnv> => {
  const keys = parts.functions?.links.withKey(parts.keys) ?? parts.keys
  const context: ServiceContext = {
    verifier: createVerifier(keys, parts.now),
    log: parts.log,
    maxBodyBytes,
    bodies: createBodyRoom(parts.maxBodiesBytes ?? defaultMaxBodiesBytes),
  }
  const s3 = createS3Service(parts.store, context)
  const cloudWatchLogs = createCloudWatchLogsService(parts.archive, context)
  const microvms = createMicrovmsService(parts, context)
  const functions = parts.functions && createFunctionsService(parts.functions, context)
  const closing = parts.closing ?? new AbortController().signal
  const logRoute = (find: FindLog) => createLogRoute(find, context, closing)
  const buildLog = logRoute(async (identifier, caller) => {
    const id = parseUuid(identifier)
    if (id === undefined) throw notFound(`Build not found: ${identifier.slice(0, 256)}`)
    return {
      reader: await parts.images.buildLog(id, caller),
      end: (wait) => parts.images.buildEnd(id, wait, caller),
    }
  })
  const cancelBuild = createCancelRoute(parts.images, context)
  const usage = createStorageRoute(parts.storage, "usage", context)
  const prune = createStorageRoute(parts.storage, "prune", context)
  const createLink = createLinksRoute(parts.microvms, parts.links, parts.config, context)
  const metrics = createMetricsRoute(parts.metrics, parts.metricsReaders ?? [], context)
  const rotateKeys = createRotateRoute(parts.tokenKeys, context)
  const functionUsage = parts.functions?.invoking && createUsageRoute(parts.functions.invoking.usage, context)
  const groupLog = createGroupLogRoute(parts.archive, context, closing)
  const microvmLog = logRoute(async (identifier, caller) => ({
    reader: await parts.microvms.log(parseMicrovmId(identifier), caller),
  }))

  const app = new Hono<ApiEnv>()
  app.onError((error) => toErrorAnswer(error, microvmsDialect, randomUUID(), parts.log))

  // A rate limit per key has its place here, before anything is read.
  app.use(async (c, next) => {
    const raw = rawTarget(c)
    if (raw.length > maxTargetLength) return c.text("URI Too Long", 414)
    const service = claimedService(raw, c.req.raw.headers)
    if (service === "s3") return s3(c, randomUUID())
    if (service === "logs") return cloudWatchLogs(c, randomUUID())
    return next()
  })

  app.get("/healthz", async (c) => {
    const health = await parts.health()
    return c.json(health, health.ok ? 200 : 503)
  })
  app.get("/metrics", (c) => metrics(c, randomUUID()))
  app.get("/.well-known/jwks.json", async (c) => c.json(await parts.tokenKeys.jwks()))
  app.get("/torpor/v1/builds/:buildId/logs", (c) => buildLog(c, randomUUID()))
  app.post("/torpor/v1/builds/:buildId/cancel", (c) => cancelBuild(c, randomUUID()))
  app.get("/torpor/v1/images/usage", (c) => usage(c, randomUUID()))
  app.post("/torpor/v1/images/prune", (c) => prune(c, randomUUID()))
  app.post("/torpor/v1/microvms/:microvmId/links", (c) => createLink(c, randomUUID()))
  app.post("/torpor/v1/keys/rotate", (c) => rotateKeys(c, randomUUID()))
  if (functionUsage !== undefined) app.get("/torpor/v1/functions/:name/usage", (c) => functionUsage(c, randomUUID()))
  app.get("/torpor/v1/logs", (c) => groupLog(c, randomUUID()))
  app.get("/torpor/v1/microvms/:microvmId/logs", (c) => microvmLog(c, randomUUID()))
  app.all("*", (c) => {
    const serve = functions?.owns(c.req.method, rawTarget(c)) === true ? functions.serve : microvms
    return serve(c, randomUUID())
  })
  return app
}
