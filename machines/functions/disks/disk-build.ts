/** Zips become a disk inside of a VM that is for nothing else: whatever they do to their unpacker is done to them alone. */
import { randomUUID } from "node:crypto"
import { createWriteStream } from "node:fs"
import { chmod, chown, open, rename } from "node:fs/promises"
import type { FileHandle } from "node:fs/promises"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import type { Artifacts } from "../../../images/artifacts.ts"
import { AgentError } from "../../../src/agent/agent-error.ts"
import { VMM_OVERHEAD_MIB, type Ledger } from "../../../src/capacity/ledger.ts"
import { untilReleased } from "../../../src/capacity/release.ts"
import { vms } from "../../../src/db/schema.ts"
import type { Drive } from "../../../src/vmm/vmm.ts"
import type { BootSnapshots } from "../../building/boot-snapshots.ts"
import { createBuildVm, died, type BuildLife } from "../../building/build-vm.ts"
import { makeFilesDrive } from "../../building/drives.ts"
import { NotReady } from "../code/readiness.ts"
import { makeVmDirectory, type VmHost } from "../../vm.ts"
import { makeCodeGround } from "./blank-disk.ts"
import { FUNCTION_PLACES } from "./function-disks.ts"

export interface DiskBuildOptions {
  readonly host: VmHost
  readonly artifacts: Artifacts
  readonly snapshots: BootSnapshots
  readonly createOverlay: (path: string) => Promise<void>
  /** A zip by its hash; the caller closes it. */
  readonly openZip: (sha256: string) => Promise<FileHandle>
}

const [MEMORY_MIB, VCPUS] = [512, 1]
const [ZIPS, TARGET] = [0, 1]
const UNPACK_TIMEOUT_MS = 600_000

/** Unpacks the zips, the lowest first, into a new read-only disk at `to`. Throws a {@link NotReady} when they cannot be. */
export const buildDisk = async (
  options: DiskBuildOptions,
  zips: readonly string[],
  to: string,
  signal: AbortSignal,
): Promise<void> => {
  const { host, artifacts } = options
  const vmId = randomUUID()
  // As an image build's: what an ended daemon left of it has no owner, and goes at the next start.
  await host.db
    .insert(vms)
    .values({ id: vmId, hostId: host.hostId, kind: "build", memoryMiB: MEMORY_MIB, vcpus: VCPUS })
  try {
    const directory = await makeVmDirectory(host, vmId)
    const target = join(directory, "target.raw")
    await makeCodeGround(target, signal)
    const drives: Drive[] = []
    drives[ZIPS] = await makeZipsDrive(options, zips, directory, signal)
    drives[TARGET] = { chain: [{ path: target, format: "raw" }], readOnly: false }
    const vm = await createBuildVm({ ...options, becomesBase: false }, vmId, MEMORY_MIB)
    const disks = { rootDisk: [artifacts.blankDisk, await vm.newOverlay()], drives }
    const life = await whenThereIsRoom(host.ledger, () => vm.begin(disks, signal), signal)
    try {
      await unpack(life, zips.length, AbortSignal.any([signal, AbortSignal.timeout(UNPACK_TIMEOUT_MS)]))
    } finally {
      life.agent.close()
    }
    await life.live.vm.kill()
    await keep(target, to)
  } finally {
    await host.end(vmId)
  }
}

/** Memory that others have now is waited for. */
const whenThereIsRoom = async <Result>(
  ledger: Ledger,
  work: () => Promise<Result>,
  signal: AbortSignal,
): Promise<Result> => {
  const neededMiB = MEMORY_MIB + VMM_OVERHEAD_MIB
  if (neededMiB > ledger.capacityMiB) throw new Error("This host is too small for a VM that unpacks functions' code.")
  const hasRoom = () => ledger.reservedMiB + neededMiB <= ledger.capacityMiB
  for (;;) {
    while (!hasRoom()) await untilReleased(ledger, signal)
    try {
      return await work()
    } catch (error) {
      // Somebody was faster.
      if (hasRoom()) throw error
    }
  }
}

const makeZipsDrive = async (
  { openZip }: Pick<DiskBuildOptions, "openZip">,
  zips: readonly string[],
  directory: string,
  signal: AbortSignal,
): Promise<Drive> => {
  const files = zips.map((_, index) => join(directory, `${index}.zip`))
  for (const [index, sha256] of zips.entries()) {
    const zip = await openZip(sha256)
    await pipeline(zip.createReadStream({ highWaterMark: 1024 * 1024 }), createWriteStream(files[index] ?? ""), {
      signal,
    })
  }
  return makeFilesDrive(files, directory, signal)
}

const unpack = async ({ live, agent }: BuildLife, count: number, signal: AbortSignal): Promise<void> => {
  const done = (async () => {
    const mounted = [
      { drive: ZIPS, isReadOnly: true },
      { drive: TARGET, isReadOnly: false },
    ]
    await agent.mountDrives(mounted, signal)
    const spec = { from: { drive: ZIPS, path: "" }, count, into: { drive: TARGET, path: FUNCTION_PLACES.files } }
    await agent.unpackCode(spec, signal).catch((error: unknown) => {
      if (!(error instanceof AgentError)) throw error
      throw new NotReady("InvalidZipFileException", `The function's code could not be unzipped: ${error.message}`)
    })
  })()
  try {
    await Promise.race([done, died(live)])
  } finally {
    done.catch(() => {})
  }
}

/** All of it is on this host's disk before it has its name. */
const keep = async (file: string, to: string): Promise<void> => {
  await chown(file, 0, 0)
  await chmod(file, 0o444)
  const handle = await open(file, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(file, to)
}
