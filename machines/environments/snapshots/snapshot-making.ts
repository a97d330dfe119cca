/**
 * Making a snapshot: a VM that no event will ever see has the definition's Init, and becomes files. Of what callers send or are answered
 * nothing can be in them.
 */
import { randomUUID } from "node:crypto"
import { chmod, chown, constants, copyFile, mkdir, open } from "node:fs/promises"
import { join } from "node:path"
import { vms } from "../../../src/db/schema.ts"
import { failpoint } from "../../../src/failpoint.ts"
import { fileSizes, sumOf } from "../../../src/file-sizes.ts"
import { vmFiles } from "../../disks.ts"
import type { Definition } from "../../functions/definition.ts"
import type { FunctionDiskStore } from "../../functions/disks/function-disks.ts"
import { drivesOf, FUNCTION_HOSTNAME, toSnapshotSpec } from "../../functions/function-spec.ts"
import { makeVmDirectory, type LiveVm, type VmHost } from "../../vm.ts"
import { createVmVerbs, toThawInput, type VmLifeOptions } from "../../vms/vm-life.ts"
import type { Database } from "../../vm-row.ts"
import { VCPUS } from "../base-making.ts"
import { createDesk } from "../desk.ts"
import { layDrives, readDrives, temporaryOverlay, type EnvironmentDisks } from "../drives.ts"
import { HostFull } from "../environments.ts"
import { initialise } from "../init-phase.ts"
import { toLogAddress } from "../log-address.ts"
import type { RuntimeBase, RuntimeBases } from "../runtime-bases.ts"
import { connectionOf, connectSession, createSession, disconnectSession, type Session } from "../session.ts"
import { isAsked } from "./choice.ts"
import { toStanding } from "./snapshot-loading.ts"
import type { StandingVm } from "./standing-vms.ts"
import { InitFailed, type VersionSnapshot } from "./version-snapshots.ts"

export interface SnapshotMakingOptions extends Pick<VmLifeOptions, "host" | "places" | "createOverlay"> {
  readonly db: Database & { transaction<T>(work: (tx: Database) => Promise<T>): Promise<T> }
  /** What is behind a drive that has nothing. */
  readonly emptyDrive: string
  readonly bases: RuntimeBases
  readonly disks: FunctionDiskStore
}

export interface MadeSnapshot extends Pick<VersionSnapshot, "baseId" | "vmId" | "incarnation" | "bytes" | "initMs"> {
  /** The VM that it was made of, where it begins; the caller's. */
  readonly standing?: StandingVm
}

/** Makes one in `directory`, which is new; rejects with {@link InitFailed}, or {@link HostFull}, when that is so, and leaves no VM. Its VM has a row while there is anything of it. */
export const makeSnapshot = async (
  options: SnapshotMakingOptions,
  definition: Definition,
  directory: string,
  signal: AbortSignal,
): Promise<MadeSnapshot> => {
  const { host, bases, disks, createOverlay, emptyDrive } = options
  const { runtime, memoryMiB } = definition.settings
  const [base, files] = await Promise.all([bases.of(runtime, memoryMiB, signal), disks.of(definition, signal)])
  const laid = { ...files, runtime: base.runtimeDrive }
  const loggedSince = new Date()
  const session = await beginVm(options, definition, base, loggedSince)
  const { vmId } = session
  try {
    await layDrives(await makeVmDirectory(host, vmId), laid, createOverlay)
    const verbs = createVmVerbs({
      ...options,
      drivesOf: (id) => readDrives(host.directoryOf(id), emptyDrive),
      hostnameOf: () => FUNCTION_HOSTNAME,
      // Nobody's statechart: its row says all there is.
      stored: () => Promise.resolve(),
    })
    await verbs.launch(vmId, signal)
    const live = host.live(vmId)
    if (live === undefined) throw new Error("its process has ended")
    // Of one that was asked for, its version waits.
    if (!isAsked(definition)) await live.vm.giveWay(true)
    const initMs = await initialiseIn(host, session, live, signal)
    failpoint("snapshot: initialised")
    const { incarnation } = live
    await sleepInto(live, host.directoryOf(vmId), directory, laid, signal)
    failpoint("snapshot: written")
    const sizes = await fileSizes(directory)
    // The others are names of disks that are there anyway.
    const bytes = sumOf([...sizes].filter(([name]) => !name.endsWith(".raw")).map(([, size]) => size))
    disconnectSession(session)
    await live.vm.giveWay(false)
    const standing = { ...(await toStanding(host, live)), loggedSince }
    return { baseId: base.baseId, vmId, incarnation, bytes, initMs, standing }
  } catch (error) {
    disconnectSession(session)
    await host.end(vmId)
    throw error
  }
}

/** A row as of a build: what an ended daemon left of it has no owner, and goes at the next start. */
const beginVm = async (
  { db, host }: SnapshotMakingOptions,
  definition: Definition,
  { baseId, memoryMiB }: RuntimeBase,
  createdAt: Date,
): Promise<Session> => {
  const { hostId, ledger, logs, vmm } = host
  const vmId = randomUUID()
  const address = toLogAddress({ id: vmId, createdAt }, definition)
  if (!ledger.reserve(vmId, memoryMiB)) throw new HostFull("There is no memory left on this host for a snapshot's VM.")
  await db
    .transaction(async (tx) => {
      await tx.insert(vms).values({ id: vmId, hostId, kind: "build", baseId, memoryMiB, vcpus: VCPUS })
      await logs.create(tx, vmId, { ...definition.scope, group: address.logGroup, stream: address.logStream })
    })
    .catch((error: unknown) => {
      ledger.release(vmId)
      throw error
    })
  const sharesProcessor = vmm.accelerator === "kvm"
  return createSession({
    vmId,
    definition,
    initialization: "snap-start",
    toSpec: () => toSnapshotSpec(definition, { sharesProcessor, ...address }),
    desk: createDesk(),
  })
}

/** Its programs wait for their restore, or their first event; resolves with the milliseconds of their Init. */
const initialiseIn = async (host: VmHost, session: Session, live: LiveVm, signal: AbortSignal): Promise<number> => {
  const { agent, gone } = connectSession(session, live, toThawInput(host, live, FUNCTION_HOSTNAME))
  const alive = AbortSignal.any([signal, gone])
  await agent.mountDrives(drivesOf(session.definition), alive)
  const beganAt = performance.now()
  // Nobody waits for it: the limit is another than where somebody does.
  await initialise(session, Infinity, signal)
  if (session.programs !== "running") throw new InitFailed(session.initFailure)
  const initMs = performance.now() - beganAt
  // Nobody's connection is in the memory of those who come from it.
  connectionOf(session).agent.close()
  return Math.round(initMs)
}

/** Memory, devices and copies of what was written to disks become files in `directory`; the VM is stopped there. */
const sleepInto = async (
  { vm, guest, incarnation }: LiveVm,
  vmDirectory: string,
  directory: string,
  disks: EnvironmentDisks,
  signal: AbortSignal,
): Promise<void> => {
  const files = vmFiles(directory)
  await vm.untilQuiet(signal)
  await guest.freeze(signal)
  await vm.pause()
  await mkdir(join(directory, "disk"), { recursive: true, mode: 0o700 })
  await vm.saveDelta(files.delta(incarnation))
  // What it has written to its disks is in their files since it was stopped.
  const copies = [
    [vmFiles(vmDirectory).overlay(0), files.overlay(0)],
    [temporaryOverlay(vmDirectory), temporaryOverlay(directory)],
  ] as const
  for (const [from, to] of copies) await copyFile(from, to, constants.COPYFILE_FICLONE)
  for (const path of [files.overlay(0), temporaryOverlay(directory), files.delta(incarnation).state]) {
    await chown(path, 0, 0)
    await chmod(path, 0o600)
    await sync(path)
  }
  await layDrives(directory, disks)
  await sync(join(directory, "disk"))
  await sync(directory)
}

const sync = async (path: string) => {
  await using handle = await open(path, "r")
  await handle.sync()
}
