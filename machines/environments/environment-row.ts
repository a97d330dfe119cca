/** The row of an execution environment: made before its VM is, written with each step that says something new, and removed when it has been over for a day. */
import { and, eq, inArray, sql } from "drizzle-orm"
import type { SnapshotFrom } from "xstate"
import { environments } from "../../src/db/environments.ts"
import { vms } from "../../src/db/schema.ts"
import type { Secrets } from "../../src/secrets.ts"
import { toEnvironmentState, type EnvironmentInput, type EnvironmentMachine } from "../environment.ts"
import type { Definition } from "../functions/definition.ts"
import { functionArn } from "../functions/names.ts"
import { recordChange } from "../history.ts"
import type { Database } from "../vm-row.ts"
import type { InitializationType } from "./environments.ts"

export type EnvironmentRow = typeof environments.$inferSelect

export interface NewEnvironment {
  readonly id: string
  readonly vmId: string
  readonly hostId: string
  readonly definition: Definition
  readonly initialization: InitializationType
  readonly createdAt: Date
  readonly deadlineAt: Date
}

/** How many of those that are over are removed with one that has just ended. */
const REMOVED_AT_ONCE = 100

/** Inserts one that is about to begin, in its caller's transaction; its VM's row is there. */
export const insertEnvironment = async (
  tx: Database,
  secrets: Pick<Secrets, "seal">,
  { definition, ...given }: NewEnvironment,
): Promise<EnvironmentRow> => {
  const { scope, functionId, versionId, name, version } = definition
  const cause = given.initialization === "provisioned-concurrency" ? "api" : "request"
  const [row] = await tx
    .insert(environments)
    .values({
      ...given,
      ...scopeOf(scope),
      functionId,
      versionId,
      functionName: name,
      version,
      definitionId: definition.id,
      sealedDefinition: secrets.seal(JSON.stringify(definition)),
      state: "PENDING",
      cause,
    })
    .returning()
  if (row === undefined) throw new Error("The environment's row was not returned")
  await recordChange(tx, {
    scope,
    resource: functionArn(scope, name, version),
    type: "environment.pending",
    cause,
    details: { environment: given.id, initialization: given.initialization },
  })
  return row
}

const scopeOf = ({ account, region }: Definition["scope"]) => ({ account, region })

/** Writes one step; `false` when the row has another generation, so another owner. */
export const saveEnvironment = async (
  tx: Database,
  id: string,
  generation: number,
  snapshot: SnapshotFrom<EnvironmentMachine>,
): Promise<boolean> => {
  const state = toEnvironmentState(snapshot)
  const { cause, stateReason } = snapshot.context
  const before = tx
    .select({ id: environments.id, state: environments.state })
    .from(environments)
    .where(eq(environments.id, id))
    .for("update")
    .as("before")
  const [row] = await tx
    .update(environments)
    .set({
      state,
      cause,
      stateReason,
      terminatedAt: state === "TERMINATED" ? sql`coalesce(${environments.terminatedAt}, now())` : null,
      generation: generation + 1,
    })
    .from(before)
    .where(and(eq(environments.id, id), eq(environments.generation, generation)))
    .returning({
      account: environments.account,
      region: environments.region,
      name: environments.functionName,
      version: environments.version,
      hostId: environments.hostId,
      stateBefore: before.state,
    })
  if (row === undefined) return false
  if (row.stateBefore !== state)
    await recordChange(tx, {
      scope: row,
      resource: functionArn(row, row.name, row.version),
      type: `environment.${state.toLowerCase()}`,
      cause,
      details: { environment: id, ...(stateReason === null ? {} : { reason: stateReason }) },
    })
  if (state === "TERMINATED") await removeOld(tx, row.hostId)
  return true
}

/** Removes rows of this host that have been over for a day, some at a time, with their VMs'. */
const removeOld = async (tx: Database, hostId: string) => {
  const old = tx
    .select({ id: environments.id })
    .from(environments)
    .where(and(eq(environments.hostId, hostId), sql`${environments.terminatedAt} < now() - interval '1 day'`))
    .limit(REMOVED_AT_ONCE)
    .for("update", { skipLocked: true })
  const removed = await tx
    .delete(environments)
    .where(inArray(environments.id, old))
    .returning({ vmId: environments.vmId })
  if (removed.length === 0) return
  await tx.delete(vms).where(
    inArray(
      vms.id,
      removed.map(({ vmId }) => vmId),
    ),
  )
}

/** What the machine enters with after a restart. */
export const toEnvironmentInput = (row: EnvironmentRow, idleMs: number): EnvironmentInput => ({
  id: row.id,
  vmId: row.vmId,
  state: row.state,
  isNew: false,
  cause: row.cause,
  stateReason: row.stateReason,
  deadlineAt: row.deadlineAt.getTime(),
  idleMs: row.initialization === "provisioned-concurrency" ? null : idleMs,
})

/** What it runs. */
export const openDefinition = (secrets: Pick<Secrets, "open">, row: EnvironmentRow): Definition =>
  JSON.parse(secrets.open(row.sealedDefinition)) as Definition

/** Every environment of this host that is not over. */
export const liveEnvironments = (db: Database, hostId: string): Promise<EnvironmentRow[]> =>
  db
    .select()
    .from(environments)
    .where(and(eq(environments.hostId, hostId), sql`${environments.state} <> 'TERMINATED'`))
