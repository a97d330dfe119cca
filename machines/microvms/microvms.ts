/** What the API may ask about MicroVMs: rows first, then their actors. */
import { randomUUID } from "node:crypto"
import { and, desc, eq, gt, or, isNull } from "drizzle-orm"
import { pipelined } from "../../src/db/pipelined.ts"
import { bases, images, imageVersions, microvms, vms } from "../../src/db/schema.ts"
import { conflict, notFound, ServiceError, validationError } from "../../src/errors.ts"
import type { Ledger } from "../../src/capacity/ledger.ts"
import { VMM_OVERHEAD_MIB } from "../../src/capacity/ledger.ts"
import type { Logs } from "../../src/logs/logs.ts"
import { imageGroup, placeLog, streamName } from "../../src/logs/names.ts"
import { createAccessRecord } from "../access.ts"
import { imageArn, microvmArn } from "../arn.ts"
import { claimClientToken } from "../client-token.ts"
import { refuseLostDisk, type Places } from "../disks.ts"
import { recordChange } from "../history.ts"
import { MICROVM_MACHINE_VERSION, type MicrovmEvent, type MicrovmMachine } from "../microvm.ts"
import { toMicrovm, toMicrovmInput, type MicrovmRow } from "./microvm-row.ts"
import { newestFirst, toPage } from "../page.ts"
import type { Registry } from "../registry.ts"
import type { Caller, Microvms, RunRequest, Scope } from "../resources.ts"
import type { Database } from "../vm-row.ts"

/** How long a terminated MicroVM is still listed. */
export const LISTED_AFTER_END_MS = 24 * 3600 * 1000

export interface MicrovmsOptions {
  readonly db: Database & { transaction<T>(work: (tx: Database) => Promise<T>): Promise<T> }
  readonly hostId: string
  readonly places: Places
  readonly registry: Registry<MicrovmMachine>
  readonly ledger: Ledger
  readonly logs: Logs
}

const terminated = (id: string) =>
  validationError(`The MicroVM microvm-${id} has been terminated and its state cannot be changed.`)

/** MicroVMs over a database, a registry of their actors and the ledger of this host. */
export const createMicrovms = ({ db, hostId, places, registry, ledger, logs }: MicrovmsOptions): Microvms => {
  const find = async (id: string, scope: Scope): Promise<MicrovmRow> => {
    const [row] = await db
      .select()
      .from(microvms)
      .where(and(eq(microvms.id, id), eq(microvms.account, scope.account), eq(microvms.region, scope.region)))
    if (row === undefined) throw notFound(`MicroVM not found: microvm-${id}`)
    return row
  }

  const wish = async (id: string, caller: Caller, event: MicrovmEvent, wanted: string) => {
    const row = await find(id, caller)
    const snapshot = registry.get(id)?.getSnapshot()
    const over = snapshot === undefined || snapshot.hasTag("over")
    if (over || row.state === "TERMINATED") {
      if (event.type === "TERMINATE") return
      throw terminated(id)
    }
    if (!snapshot.can(event)) {
      if (event.type === "TERMINATE") return
      throw conflict(`The MicroVM microvm-${id} cannot be ${wanted} in its current state: ${row.state}`)
    }
    registry.get(id)?.send(event)
    await registry.stored(id)
  }

  const recordAccess = createAccessRecord(db)
  const by = ({ accessKeyId, requestId }: Caller) => ({ accessKeyId, requestId })

  return {
    async run(request, caller) {
      const id = randomUUID()
      const made = await db.transaction(async (tx) => {
        const earlier = await claimClientToken(tx, request.clientToken, {
          scope: caller,
          operation: "RunMicrovm",
          request: { ...request, clientToken: undefined },
          resourceId: id,
        })
        if (earlier !== undefined) return find(earlier, caller)
        return insertMicrovm(tx, id, request, caller, { hostId, places, ledger, logs })
      })
      // A replayed request has its actor already, or is over.
      if (made.id === id) registry.start(id, made.generation, { input: toMicrovmInput(made) })
      return toMicrovm(made)
    },
    get: async (id, scope) => toMicrovm(await find(id, scope)),
    async list(filter, page, scope) {
      const { where, orderBy } = newestFirst(microvms.startedAt, microvms.id, page.after)
      const rows = await db
        .select()
        .from(microvms)
        .where(
          and(
            eq(microvms.account, scope.account),
            eq(microvms.region, scope.region),
            filter.imageName === undefined ? undefined : eq(microvms.imageName, filter.imageName),
            filter.imageVersion === undefined ? undefined : eq(microvms.imageVersion, filter.imageVersion),
            or(isNull(microvms.terminatedAt), gt(microvms.terminatedAt, new Date(Date.now() - LISTED_AFTER_END_MS))),
            where,
          ),
        )
        .orderBy(orderBy)
        .limit(page.limit + 1)
      return toPage(rows, page, (row) => ({ time: row.startedAt, id: row.id }), toMicrovm)
    },
    async letIn(id, access, caller) {
      const row = await find(id, caller)
      if (row.state === "TERMINATED") throw terminated(id)
      await recordAccess(id, access, caller)
      return toMicrovm(row)
    },
    log: async (id, scope) => logs.reader((await find(id, scope)).vmId),
    suspend: (id, caller) => wish(id, caller, { type: "SUSPEND", cause: "api", by: by(caller) }, "suspended"),
    resume: (id, caller) => wish(id, caller, { type: "RESUME", by: by(caller) }, "resumed"),
    terminate: (id, caller) =>
      wish(id, caller, { type: "TERMINATE", cause: "api", reason: "Success.", by: by(caller) }, "terminated"),
  }
}

const insertMicrovm = async (
  tx: Database,
  id: string,
  request: RunRequest,
  caller: Caller,
  { hostId, places, ledger, logs }: Pick<MicrovmsOptions, "hostId" | "places" | "ledger" | "logs">,
): Promise<MicrovmRow> => {
  const arn = imageArn(caller, request.imageName)
  const [version] = await tx
    .select({ imageId: images.id, version: imageVersions, base: bases })
    .from(images)
    .innerJoin(imageVersions, eq(imageVersions.imageId, images.id))
    .innerJoin(bases, eq(bases.id, imageVersions.baseId))
    .where(
      and(
        eq(images.account, caller.account),
        eq(images.region, caller.region),
        eq(images.name, request.imageName),
        eq(imageVersions.state, "SUCCESSFUL"),
        eq(imageVersions.status, "ACTIVE"),
        request.imageVersion === undefined ? undefined : eq(imageVersions.version, request.imageVersion),
      ),
    )
    .orderBy(desc(imageVersions.createdAt))
    .limit(1)
    // Whoever deletes either waits for what is run of it.
    .for("key share", { of: [images, imageVersions] })
  if (version === undefined)
    throw notFound(
      `No active version found for MicroVM image ${arn}${request.imageVersion === undefined ? "" : ` and version ${request.imageVersion}`}`,
    )
  const { base } = version
  refuseLostDisk(places, base)
  if (ledger.reservedMiB + base.memoryMiB + VMM_OVERHEAD_MIB > ledger.capacityMiB)
    throw new ServiceError(
      "InsufficientCapacityException",
      500,
      "There is not enough memory on this host for another MicroVM now.",
    )
  const vmId = randomUUID()
  const startedAt = new Date()
  const address = placeLog(request.logging ?? version.version.settings.logging, {
    account: caller.account,
    region: caller.region,
    group: imageGroup(request.imageName),
    stream: streamName(startedAt, version.version.version, `microvm-${id}`),
  })
  const [, , [row]] = await pipelined([
    tx
      .insert(vms)
      .values({ id: vmId, hostId, kind: "microvm", baseId: base.id, memoryMiB: base.memoryMiB, vcpus: base.vcpus }),
    address === undefined ? undefined : logs.create(tx, vmId, address),
    tx
      .insert(microvms)
      .values({
        id,
        vmId,
        hostId,
        account: caller.account,
        region: caller.region,
        imageId: version.imageId,
        imageName: request.imageName,
        imageVersionId: version.version.id,
        imageVersion: version.version.version,
        endpointId: randomUUID(),
        state: "PENDING",
        cause: "api",
        idlePolicy: request.idlePolicy,
        maximumDurationSeconds: request.maximumDurationSeconds,
        executionRoleArn: request.executionRoleArn,
        ingressConnectors: request.ingressConnectors,
        egressConnectors: request.egressConnectors,
        logging: request.logging,
        startedAt,
        deadlineAt: new Date(startedAt.getTime() + request.maximumDurationSeconds * 1000),
        machineVersion: MICROVM_MACHINE_VERSION,
      })
      .returning(),
    recordChange(tx, {
      scope: caller,
      resource: microvmArn(caller, id),
      type: "microvm.pending",
      cause: "api",
      by: caller,
      details: { image: arn, imageVersion: version.version.version },
    }),
  ])
  if (row === undefined) throw new Error("The MicroVM's row was not returned")
  return row
}
