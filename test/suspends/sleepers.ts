/**
 * MicroVMs with all that decides about their sleep: Postgres, registry, statechart, router, and the edge over TLS. Only their host is
 * simulated: a guest is an application of another process, which is reached only while it is awake.
 */
import { randomUUID } from "node:crypto"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { and, eq, sql } from "drizzle-orm"
import { Registry as Metrics } from "prom-client"
import { microvmArn } from "../../machines/arn.ts"
import { createMicrovmMachine, MICROVM_MACHINE_VERSION, toMicrovmState, type VmVerbs } from "../../machines/microvm.ts"
import type { MicrovmMachine } from "../../machines/microvm.ts"
import { saveMicrovm, toMicrovmInput } from "../../machines/microvms/microvm-row.ts"
import { createMicrovms } from "../../machines/microvms/microvms.ts"
import { createRegistry, type Registry } from "../../machines/registry.ts"
import type { Caller, Microvms } from "../../machines/resources.ts"
import { createMicrovmRouter, type MicrovmRouter } from "../../machines/router.ts"
import { ensureCertificates } from "../../proxy/certificates.ts"
import { createEdgeMetrics } from "../../proxy/metrics.ts"
import { RouteError } from "../../proxy/route.ts"
import { openEdge } from "../../proxy/server.ts"
import { createLedger } from "../../src/capacity/ledger.ts"
import { parseConfig } from "../../src/config.ts"
import { createKeyStore, registerHost } from "../../src/db/identity.ts"
import { audit, microvms, vms } from "../../src/db/schema.ts"
import type { IdlePolicy } from "../../src/db/values.ts"
import { createLog } from "../../src/log.ts"
import { createLogs } from "../../src/logs/logs.ts"
import { createSecrets } from "../../src/secrets.ts"
import { openTokenKeys } from "../../src/tokens/keys.ts"
import { createTokens } from "../../src/tokens/tokens.ts"
import { openTestDatabase } from "../db/database.ts"
import { insertImageVersion } from "../db/image-version-row.ts"
import { GUEST_PORT, startGuests, type Guests } from "./guests.ts"

export interface Sleeper {
  readonly id: string
  readonly vmId: string
  /** Of its endpoint, with the edge's port. */
  readonly name: string
  readonly token: string
}

export interface Sleepers extends AsyncDisposable {
  readonly ca: string
  readonly guests: Guests
  readonly microvms: Microvms
  readonly caller: Caller
  readonly registry: Registry<MicrovmMachine>
  readonly router: MicrovmRouter
  /** How long a verb takes, in ms; may wait for something instead. */
  readonly delay: { before(verb: "sleep" | "wake", vmId: string): Promise<void> }
  /** Those that have an address now, by their VM's id. */
  readonly live: ReadonlyMap<string, unknown>
  add(idlePolicy: IdlePolicy | null, ingressConnectors?: string[]): Promise<Sleeper>
  /** How often a MicroVM came into a state, by its stored history. */
  came(id: string, state: string): Promise<number>
  /** Called with every state that a statechart comes into. */
  onState: (id: string, state: string) => void
}

/** Tests of several processes at once share the loopback network; one wakes some thousand times, each time at an address of its own. */
const [PROCESSES, ADDRESSES_EACH] = [1000, 1 << 14]

const ACCOUNT = { account: "000000000000", region: "eu" }
const SIZE = { memoryMiB: 512, vcpus: 1 }

export const openSleepers = async (): Promise<Sleepers> => {
  await using opened = new AsyncDisposableStack()
  const directory = await mkdtemp(join(tmpdir(), "torpor-sleepers-"))
  opened.defer(() => rm(directory, { recursive: true }))
  const { db, hostId } = opened.use(await openTestDatabase())
  await registerHost(db, hostId, "test")
  const guests = opened.use(await startGuests())
  const log = createLog("silent")
  const imageVersionId = await insertImageVersion(db, { ...ACCOUNT, name: "witness" }, { hostId })

  const live = new Map<string, { slot: { address: string } }>()
  let addresses = (1 + (process.pid % PROCESSES)) * ADDRESSES_EACH
  const owners = new Map<string, string>()
  const stored = (vmId: string) => registry.stored(owners.get(vmId) ?? "")
  const begin = async (vmId: string) => {
    const number = ++addresses
    const address = `127.${number >> 16}.${(number >> 8) & 255}.${number & 255}`
    await guests.thaw(vmId, address)
    live.set(vmId, { slot: { address } })
  }
  const verbs: VmVerbs = {
    launch: begin,
    async sleep(vmId) {
      await stored(vmId)
      await sleepers.delay.before("sleep", vmId)
      await guests.freeze(vmId)
      live.delete(vmId)
      return true
    },
    async wake(vmId) {
      await stored(vmId)
      await sleepers.delay.before("wake", vmId)
      await begin(vmId)
      return true
    },
    watch: (_, signal) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error))),
    end: (vmId) => Promise.resolve(void live.delete(vmId)),
  }
  const router = createMicrovmRouter({
    db,
    host: { live: (vmId) => live.get(vmId) },
    domain: "vm.localhost",
    registry: () => registry,
    refuse: (why) => new RouteError(why),
  })
  let drop = (_vmId: string): void => {}
  const registry = createRegistry(
    {
      name: "microvm",
      machine: createMicrovmMachine(verbs, router.activityOf),
      save: (id, generation, snapshot, persisted) =>
        db.transaction((tx) => saveMicrovm(tx, id, generation, snapshot, persisted)),
      observe(id, snapshot) {
        if (!snapshot.hasTag("connected")) drop(id)
        sleepers.onState(id, toMicrovmState(snapshot))
      },
    },
    log,
  )
  opened.defer(() => registry.close())

  const tokens = createTokens(await openTokenKeys(createKeyStore(db, createSecrets(Buffer.alloc(32)))))
  const certificates = await ensureCertificates(directory, "localhost")
  const edge = await openEdge({
    router,
    tokens,
    ...certificates,
    ...parseConfig({}).edge,
    maxRequestsPerVm: 100,
    address: "127.0.0.1",
    port: 0,
    metrics: createEdgeMetrics(new Metrics()),
    log,
  })
  opened.defer(() => edge.close(0))
  drop = edge.drop
  const limits = { bytesPerLog: 2 ** 20, bytesPerGroup: 2 ** 20, bytesPerHost: 2 ** 20, days: 1 }
  const logs = opened.use(createLogs({ db, hostId, limits, log }))

  const held = opened.move()
  const sleepers: Sleepers = {
    ca: await readFile(certificates.caFile ?? "", "utf8"),
    guests,
    registry,
    router,
    live,
    caller: { ...ACCOUNT, accessKeyId: "key", requestId: "request" },
    microvms: createMicrovms({
      db,
      hostId,
      places: { cacheDirectory: directory, dataDirectory: directory },
      registry,
      ledger: createLedger(0),
      logs,
    }),
    delay: { before: () => Promise.resolve() },
    onState: () => {},
    async add(idlePolicy, ingressConnectors = ["HTTP_INGRESS"]) {
      const vmId = randomUUID()
      await db.insert(vms).values({ id: vmId, hostId, kind: "microvm", ...SIZE })
      const startedAt = new Date()
      const [row] = await db
        .insert(microvms)
        .values({
          ...ACCOUNT,
          ...imageVersionId,
          id: randomUUID(),
          vmId,
          hostId,
          imageName: "witness",
          imageVersion: "1.0",
          endpointId: randomUUID(),
          state: "PENDING",
          cause: "api",
          idlePolicy,
          maximumDurationSeconds: 3600,
          ingressConnectors,
          egressConnectors: [],
          startedAt,
          deadlineAt: new Date(startedAt.getTime() + 3_600_000),
          machineVersion: MICROVM_MACHINE_VERSION,
        })
        .returning()
      if (row === undefined) throw new Error("The MicroVM's row was not returned")
      owners.set(vmId, row.id)
      registry.start(row.id, row.generation, { input: toMicrovmInput(row) })
      const ports = [{ from: GUEST_PORT, to: GUEST_PORT }]
      const token = await tokens.mint({ vmId: row.id, ports, expirationSeconds: 3600 })
      return { id: row.id, vmId, name: `${row.endpointId}.vm.localhost:${edge.port}`, token }
    },
    async came(id, state) {
      const [found] = await db
        .select({ times: sql<number>`count(*)::int` })
        .from(audit)
        .where(and(eq(audit.resource, microvmArn(ACCOUNT, id)), eq(audit.action, `microvm.${state.toLowerCase()}`)))
      return found?.times ?? 0
    },
    async [Symbol.asyncDispose]() {
      await held.disposeAsync()
    },
  }
  return sleepers
}
