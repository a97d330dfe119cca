import { Lambda, type CreateFunctionCommandInput } from "@aws-sdk/client-lambda"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pino } from "pino"
import { Registry } from "prom-client"
import { parseConfig } from "../../../src/config.ts"
import { createCodeLinks } from "../../../src/api/aws/functions/code/code-links.ts"
import { registerHost } from "../../../src/db/identity.ts"
import { zipOf } from "../../../src/cli/sample.ts"
import { createSecrets } from "../../../src/secrets.ts"
import { defaultStoreLimits, openArtifactStore, type ArtifactStoreLimits } from "../../../src/store/artifact-store.ts"
import { createBuiltInArtifacts } from "../../../src/store/built-in-artifacts.ts"
import { createDestinationCheck } from "../../../machines/functions/events/destinations/destinations.ts"
import { toFunctionLimits, type FunctionLimits } from "../../../machines/functions/ground.ts"
import { createFunctionChanges } from "../../../machines/functions/changes.ts"
import type { Readiness } from "../../../machines/functions/code/readiness.ts"
import { openFunctions } from "../../../machines/functions/open-functions.ts"
import type { AsyncIntake, AsyncRequest } from "../../../machines/functions/events/intake.ts"
import { openEvents, type EventsOptions, type OpenEvents } from "../../../machines/functions/events/open-events.ts"
import { openInvoker, type InvokingLimits } from "../../../machines/functions/invoking/open-invoker.ts"
import { openKeeping } from "../../../machines/functions/provisioned/keeping.ts"
import { createProvisions } from "../../../machines/functions/provisioned/provisions.ts"
import { createUsageReader } from "../../../machines/functions/usage/usage-reader.ts"
import { openUsageCounts } from "../../../machines/functions/usage/usage-counts.ts"
import { createMemoryEnvironments, type MemoryOptions } from "../../machines/functions/memory-environments.ts"
import { openTestDatabase } from "../../db/database.ts"
import { credentials, region, startApi } from "../api-under-test.ts"

const defaultLimits = toFunctionLimits(parseConfig({}).functions)

/** Links to code are signed with it. */
export const LINK_SECRET = "a secret of the daemon's own"

/** Of one host. */
const invokingLimits: Omit<InvokingLimits, "concurrentExecutions"> = {
  startsPerTenSeconds: 1000,
  startsAtOnce: 8,
  firstStartsAtOnce: 8,
  waiting: { count: 1000, bytes: 2 ** 26, waitMs: 60_000 },
}

export const role = "arn:aws:iam::000000000000:role/lambda"

const service = { endpoint: "http://127.0.0.1:9", accessKeyId: "key", secretAccessKey: "secret" }
/** Nothing is sent to them by what is tested here. */
const destinations = { sqs: service, webhooks: { hook: { url: "http://127.0.0.1:9", secret: "secret" } } }

/** Serves the API with functions over a real Postgres and a store in a directory of its own. */
export const startFunctions = async (
  limits: Partial<FunctionLimits> = {},
  prepare: Readiness["prepare"] = () => Promise.resolve(),
  storeLimits: Partial<ArtifactStoreLimits> = {},
) => {
  const accountLimits = { ...defaultLimits, ...limits }
  await using opened = new AsyncDisposableStack()
  const { db, hostId } = opened.use(await openTestDatabase())
  await registerHost(db, hostId, "here")
  const directory = await mkdtemp(join(tmpdir(), "torpor-functions-"))
  opened.defer(() => rm(directory, { recursive: true, force: true }))
  const secrets = createSecrets(Buffer.alloc(32, 7))
  const store = await openArtifactStore(join(directory, "store"), { ...defaultStoreLimits, ...storeLimits })
  const changes = createFunctionChanges()
  const open = () =>
    openFunctions({
      db,
      changes,
      hostId,
      secrets,
      store,
      artifacts: createBuiltInArtifacts(store, { directory, maxBytes: 300 * 1024 ** 2 }),
      artifactDirectory: directory,
      readiness: { prepare, tidy: () => {} },
      limits: accountLimits,
      checkDestination: createDestinationCheck(destinations),
      resumes: true,
      log: pino({ level: "silent" }),
    })
  const functions = opened.use(await open())
  const links = createCodeLinks(LINK_SECRET, functions.codes.keyOf)
  const log = pino({ level: "silent" })
  const memory: MemoryOptions = {}
  const environments = createMemoryEnvironments(memory)
  const { onRoom } = environments
  const usage = opened.use(openUsageCounts({ db, days: 1, log }))
  const invoking = opened.use(
    await openInvoker({
      db,
      secrets,
      changes,
      environments,
      usage,
      limits: { ...invokingLimits, concurrentExecutions: accountLimits.concurrentExecutions },
      onRoom,
      log,
    }),
  )
  const keeping = opened.use(await openKeeping({ db, changes, resumes: true, log, ...invoking }))
  const provisions = createProvisions({ db, changes, limits: accountLimits }, keeping)
  const accepted: AsyncRequest[] = []
  const queue: { intake?: AsyncIntake } = {}
  const intake: AsyncIntake = {
    async accept(request) {
      accepted.push(request)
      await queue.intake?.accept(request)
    },
  }
  const api = opened.use(
    await startApi({
      store,
      functions: {
        functions: functions.verbs,
        links,
        invoking: { invoker: invoking.invoker, intake, provisions, usage: createUsageReader(db, usage) },
        urlSuffix: "lambda-url.localhost:7443",
      },
    }),
  )
  const clients: Lambda[] = []
  opened.defer(() => {
    for (const client of clients) client.destroy()
  })
  const held = opened.move()
  return {
    api,
    db,
    store,
    hostId,
    settling: functions.settling,
    changes,
    /** What functions answer, and how their host is; `environments.made` are theirs. */
    memory,
    environments,
    invoking,
    usage,
    keeping,
    /** Asynchronous events. */
    accepted,
    /** Whatever they go on to. */
    queue,
    secrets,
    /** Another daemon's start on the same database and store. */
    open,
    client: (config: { region?: string; credentials?: typeof credentials } = {}) => {
      const client = new Lambda({ endpoint: api.url, region, credentials, maxAttempts: 1, ...config })
      clients.push(client)
      return client
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

export type FunctionsUnderTest = Awaited<ReturnType<typeof startFunctions>>

/** The queue that asynchronous events go on to from here on; whoever opens it closes it. */
export const openQueue = async (
  { db, hostId, changes, invoking, queue }: FunctionsUnderTest,
  more: Partial<EventsOptions> = {},
): Promise<OpenEvents> => {
  const events = await openEvents({
    db,
    hostId,
    changes,
    log: pino({ level: "silent" }),
    invoker: invoking.invoker,
    destinations: { webhooks: {} },
    limits: { eventsPerFunction: 100, bytesPerFunction: 2 ** 24, events: 100, bytes: 2 ** 24 },
    maxInFlight: 8,
    metrics: new Registry(),
    resumes: true,
    ...more,
  })
  queue.intake = events.intake
  return events
}

/** A zip with one handler that says `text`. */
export const codeOf = (text = "hello"): Promise<Buffer> =>
  zipOf({ "index.mjs": `export const handler = async () => ${JSON.stringify(text)}\n` })

/** What a small Node function is made with. */
export const functionInput = async (
  name: string,
  more: Partial<CreateFunctionCommandInput> = {},
): Promise<CreateFunctionCommandInput> => ({
  FunctionName: name,
  Role: role,
  Runtime: "nodejs24.x",
  Handler: "index.handler",
  Code: { ZipFile: await codeOf() },
  ...more,
})
