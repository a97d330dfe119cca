/** What is kept of environments, with a real database and without a VM. */
import { randomUUID } from "node:crypto"
import { asc, eq, sql } from "drizzle-orm"
import { pino } from "pino"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { waitFor } from "xstate"
import { createEnvironmentMachine, toEnvironmentState } from "../../machines/environment.ts"
import {
  insertEnvironment,
  liveEnvironments,
  openDefinition,
  saveEnvironment,
  toEnvironmentInput,
} from "../../machines/environments/environment-row.ts"
import { createRegistry } from "../../machines/registry.ts"
import { registerHost } from "../../src/db/identity.ts"
import { environments } from "../../src/db/environments.ts"
import { audit, vms } from "../../src/db/schema.ts"
import { createSecrets } from "../../src/secrets.ts"
import { openTestDatabase, type TestDatabase } from "../db/database.ts"
import { definitionOf } from "../life/functions/ground.ts"
import { createSimulatedEnvironment } from "../machines/simulated-environment.ts"

let database: TestDatabase
beforeAll(async () => {
  database = await openTestDatabase()
  await registerHost(database.db, database.hostId, "test")
})
afterAll(() => database?.[Symbol.asyncDispose]())

const secrets = createSecrets(Buffer.alloc(32, 1))
const complaints: string[] = []
const log = pino({ level: "warn" }, { write: (line: string) => void complaints.push(line) })

const insert = (name = "f") =>
  database.db.transaction(async (tx) => {
    const [id, vmId] = [randomUUID(), randomUUID()]
    const { hostId } = database
    await tx.insert(vms).values({ id: vmId, hostId, kind: "environment", memoryMiB: 384, vcpus: 1 })
    const createdAt = new Date()
    return insertEnvironment(tx, secrets, {
      id,
      vmId,
      hostId,
      definition: definitionOf(name, { PASSWORD: "hunter2" }),
      initialization: "on-demand",
      createdAt,
      deadlineAt: new Date(createdAt.getTime() + 3_600_000),
    })
  })
const findRow = async (id: string) => (await database.db.select().from(environments).where(eq(environments.id, id)))[0]
const changesOf = async (id: string) =>
  (await database.db.select().from(audit).orderBy(asc(audit.id)))
    .filter(({ details }) => details["environment"] === id)
    .map(({ resource, action, cause }) => `${resource.split(":").slice(6).join(":")} ${action} ${cause}`)

const openRegistry = (host: ReturnType<typeof createSimulatedEnvironment>) =>
  createRegistry(
    {
      name: "environment",
      machine: createEnvironmentMachine(host.verbs, () => host.desk),
      save: (id, generation, snapshot) =>
        database.db.transaction((tx) => saveEnvironment(tx, id, generation, snapshot)),
      isNews: (snapshot, stored) => toEnvironmentState(snapshot) !== toEnvironmentState(stored),
    },
    log,
  )
const begin = async (host = createSimulatedEnvironment()) => {
  const row = await insert()
  const registry = openRegistry(host)
  const input = { ...toEnvironmentInput(row, 60_000), isNew: true }
  const actor = registry.start(row.id, row.generation, { input, isStored: true })
  await waitFor(actor, (snapshot) => snapshot.matches({ alive: { running: "frozen" } }))
  await registry.stored(row.id)
  return { row, registry, actor, host }
}

describe("An environment's row", () => {
  test("holds what it runs, sealed, and is not written for what it says already, or for an event", async () => {
    const { row, registry, actor, host } = await begin()
    expect(row.sealedDefinition.includes("hunter2")).toBe(false)
    expect(openDefinition(secrets, row).environment).toEqual({ PASSWORD: "hunter2" })
    const before = await findRow(row.id)
    expect(before).toMatchObject({ state: "RUNNING", generation: row.generation + 1 })
    for (let events = 0; events < 5; events++) {
      const { settled } = host.give()
      actor.send({ type: "GIVEN" })
      await settled
      await waitFor(actor, (snapshot) => snapshot.matches({ alive: { running: "frozen" } }))
    }
    await registry.stored(row.id)
    expect(await findRow(row.id)).toEqual(before)
    actor.send({ type: "TERMINATE", cause: "memory", reason: "Others need the room." })
    await waitFor(actor, (snapshot) => snapshot.status === "done")
    await expect.poll(async () => (await findRow(row.id))?.state).toBe("TERMINATED")
    expect(await changesOf(row.id)).toEqual([
      "f:$LATEST environment.pending request",
      "f:$LATEST environment.running request",
      "f:$LATEST environment.terminating memory",
      "f:$LATEST environment.terminated memory",
    ])
    expect(complaints).toEqual([])
  })

  test("is taken over by the next daemon, and the one before lets go of it", async () => {
    const { row, registry, actor, host } = await begin()
    const [live] = await liveEnvironments(database.db, database.hostId)
    expect(live?.id).toBe(row.id)
    const next = openRegistry(host)
    const again = next.start(row.id, live?.generation ?? 0, { input: toEnvironmentInput(live ?? row, 60_000) })
    await waitFor(again, (snapshot) => snapshot.matches({ alive: { running: "frozen" } }))
    await next.stored(row.id)
    actor.send({ type: "TERMINATE", cause: "api", reason: "Of one that owns nothing." })
    await expect.poll(() => registry.get(row.id)).toBeUndefined()
    expect((await findRow(row.id))?.state).toBe("RUNNING")
    expect(complaints.splice(0).join()).toContain("Another owner has written this row")
    await next.close()
  })

  test("is gone a day after its end, when another ends, and its VM's with it", async () => {
    const { db } = database
    const old = await insert()
    await db
      .update(environments)
      .set({ state: "TERMINATED", terminatedAt: sql`now() - interval '25 hours'` })
      .where(eq(environments.id, old.id))
    const { row, actor } = await begin()
    actor.send({ type: "TERMINATE", cause: "api", reason: "Asked." })
    await expect.poll(async () => findRow(old.id)).toBeUndefined()
    expect(await db.select().from(vms).where(eq(vms.id, old.vmId))).toEqual([])
    expect((await findRow(row.id))?.state).toBe("TERMINATED")
  })
})
