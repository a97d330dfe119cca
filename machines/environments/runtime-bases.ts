/**
 * Bases that environments are launched from: one for a runtime and a size of VM. In its guest the agent runs, the image's disk is mounted
 * and the runtime's drive with it, and nothing of a function is there. Of the other drives only the code's was ever mounted, with the
 * runtime's disk behind it, in training. Where its guest booted all but the runtime's were drives that can be written: one that was seen
 * read-only is so in every life.
 */
import { createHash, randomUUID } from "node:crypto"
import { existsSync } from "node:fs"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { and, eq } from "drizzle-orm"
import { unlessAborted } from "../../src/abort.ts"
import { VMM_OVERHEAD_MIB } from "../../src/capacity/ledger.ts"
import { runtimeBases } from "../../src/db/functions.ts"
import { bases } from "../../src/db/schema.ts"
import { createTurns } from "../building/turns.ts"
import { fromPlace, toPlace, type Places } from "../disks.ts"
import type { VmHost } from "../vm.ts"
import type { Database } from "../vm-row.ts"
import { releaseBases } from "../unused-bases.ts"
import { markUsed, trimBases } from "./base-room.ts"
import { VCPUS, type BaseGround, type BaseToMake, type MadeBase } from "./base-making.ts"
import { HostTooSmall, vmMemoryOf } from "./memory-classes.ts"

export interface RuntimeBase {
  /** Of a row in `bases`. */
  readonly baseId: string
  /** The guest's RAM: that of the class which holds the asked-for memory and the guest's own. */
  readonly memoryMiB: number
  /** The raw file, read-only, that must be behind the runtime's drive of every VM that is launched from it; `null` for the empty one. */
  readonly runtimeDrive: string | null
}

export interface RuntimeBases {
  /** Whether this host can ever hold the VM of a function with this much memory. */
  fits(memoryMiB: number): boolean
  /**
   * The base for functions of this runtime with this much memory, built when it isn't there: at once for everybody who asks. Rejects
   * when the runtime is unknown or its base could not be built, and with {@link HostTooSmall}.
   */
  of(runtime: string, memoryMiB: number, signal: AbortSignal): Promise<RuntimeBase>
}

export interface RuntimeBasesOptions {
  readonly host: Pick<VmHost, "hostId" | "dataDirectory" | "vmm" | "ledger" | "log"> & {
    readonly db: Database & { transaction<T>(work: (tx: Database) => Promise<T>): Promise<T> }
  }
  readonly places: Places
  readonly systemDisk: string
  /** What a runtime's VMs stand on; rejects when there is no such runtime. */
  readonly disksOf: (runtime: string, signal: AbortSignal) => Promise<BaseGround>
  /** Makes a base in a new directory; of a guest that has its own VM, and ends it. */
  readonly make: (base: BaseToMake, signal: AbortSignal) => Promise<MadeBase>
  /** Of all of them together; the least recently used go first, and none that was used within the last hour. */
  readonly maxBytes: number
  readonly signal: AbortSignal
}

/** How bases are made: another number makes all of them again. */
const FORMAT = 4

/** The bases of this host. Disposing waits for what is being made, which `signal` aborts; what a killed daemon left of that is swept at the next start. */
export const createRuntimeBases = ({
  host,
  places,
  systemDisk,
  disksOf,
  make,
  maxBytes,
  signal: closing,
}: RuntimeBasesOptions): RuntimeBases & AsyncDisposable => {
  const { db, hostId, vmm, ledger, log } = host
  const pathOf = (id: string) => join(places.dataDirectory, "bases", id)
  const turns = createTurns(1)
  /** What is looked for or made at this moment, for everybody who asks. */
  const atWork = new Map<string, Promise<RuntimeBase>>()

  /** One that is there and can still be loaded, of whatever it is made. */
  const find = async (runtime: string, memoryMiB: number): Promise<typeof runtimeBases.$inferSelect | undefined> => {
    const [row] = await db.select().from(runtimeBases).where(rowOf(runtime, memoryMiB))
    if (row === undefined) return undefined
    const directory = pathOf(row.baseId)
    const isCurrent = await vmm.isCurrent({ directory }, { memoryMiB, vcpus: VCPUS }, closing)
    return isCurrent ? row : undefined
  }

  const rowOf = (runtime: string, memoryMiB: number) =>
    and(eq(runtimeBases.hostId, hostId), eq(runtimeBases.runtime, runtime), eq(runtimeBases.memoryMiB, memoryMiB))

  const build = async (runtime: string, memoryMiB: number, ground: BaseGround, madeOf: string): Promise<string> => {
    const id = randomUUID()
    const directory = pathOf(id)
    const startedAt = performance.now()
    try {
      const { rootDisk, memoryBytes } = await make({ id, runtime, memoryMiB, ground, madeOf, directory }, closing)
      await db.transaction(async (tx) => {
        await tx.insert(bases).values({
          id,
          hostId,
          architecture: "x86_64",
          memoryMiB,
          vcpus: VCPUS,
          systemDisk: toPlace(places, systemDisk),
          rootDisk: rootDisk.map((path) => toPlace(places, path)),
        })
        const row = { baseId: id, madeOf }
        await tx
          .insert(runtimeBases)
          .values({ hostId, runtime, memoryMiB, ...row })
          .onConflictDoUpdate({
            target: [runtimeBases.hostId, runtimeBases.runtime, runtimeBases.memoryMiB],
            set: row,
          })
      })
      const ms = Math.round(performance.now() - startedAt)
      log.info({ runtime, memoryMiB, base: id, memoryBytes, ms }, "A runtime has a base")
    } catch (error) {
      // Without a row it is nobody's.
      await rm(directory, { recursive: true, force: true })
      throw error
    }
    return id
  }

  const findOrBuild = async (runtime: string, memoryMiB: number): Promise<RuntimeBase> => {
    const [ground, found] = await Promise.all([disksOf(runtime, closing), find(runtime, memoryMiB)])
    const drive = ground.runtimeDisk
    const madeOf = createHash("sha256")
      .update([FORMAT, systemDisk, ground.rootDisk, ...(ground.layers ?? []), drive].join("\n"))
      .digest("hex")
    const toBase = (baseId: string) => ({ baseId, memoryMiB, runtimeDrive: drive })
    if (found?.madeOf === madeOf) {
      await markUsed(pathOf(found.baseId))
      return toBase(found.baseId)
    }
    const leave = await turns.take(closing)
    try {
      const made = await build(runtime, memoryMiB, ground, madeOf)
      await trimBases(host, maxBytes).catch((error: unknown) => log.warn({ err: error }, "Bases could not be trimmed"))
      return toBase(made)
    } finally {
      leave()
    }
  }

  const fits = (functionMiB: number) => vmMemoryOf(functionMiB) + VMM_OVERHEAD_MIB <= ledger.capacityMiB

  return {
    fits,
    of(runtime, functionMiB, signal) {
      if (!fits(functionMiB)) return Promise.reject(new HostTooSmall(functionMiB))
      const memoryMiB = vmMemoryOf(functionMiB)
      const key = `${runtime} ${memoryMiB}`
      const work = atWork.get(key) ?? findOrBuild(runtime, memoryMiB).finally(() => atWork.delete(key))
      atWork.set(key, work)
      // Made for all: one who waits no longer doesn't end it.
      return unlessAborted(work, signal)
    },
    async [Symbol.asyncDispose]() {
      await Promise.allSettled(atWork.values())
    },
  }
}

/**
 * Forgets the bases that nothing would be launched from any more, because what they are made of is another by now, or gone. Those that
 * a VM stands on stay until it is over. For the start of a daemon, before anything runs.
 */
export const dropStaleBases = async (
  { db, hostId, vmm }: VmHost,
  places: Places,
  systemDisk: string,
  signal: AbortSignal,
): Promise<void> => {
  const rows = await db
    .select({ base: bases })
    .from(runtimeBases)
    .innerJoin(bases, eq(bases.id, runtimeBases.baseId))
    .where(eq(runtimeBases.hostId, hostId))
  for (const { base } of rows) {
    const isWhole = [base.systemDisk, ...base.rootDisk].every((place) => existsSync(fromPlace(places, place)))
    const directory = join(places.dataDirectory, "bases", base.id)
    const isCurrent =
      isWhole && base.systemDisk === toPlace(places, systemDisk) && (await vmm.isCurrent({ directory }, base, signal))
    if (!isCurrent) await db.delete(runtimeBases).where(eq(runtimeBases.baseId, base.id))
  }
  await releaseBases(db, hostId)
}
