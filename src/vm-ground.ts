/** What VMs of a host stand on: what accelerates them, their slots, their processes, and the memory that is theirs. */
import { totalmem } from "node:os"
import { join } from "node:path"
import type { Artifacts as BaseArtifacts } from "../images/artifacts.ts"
import type { VmHostOptions } from "../machines/vm.ts"
import { atOnce } from "./at-once.ts"
import { createLedger } from "./capacity/ledger.ts"
import type { Config } from "./config.ts"
import { mknod } from "./device-node.ts"
import type { Log } from "./log.ts"
import { openSlots } from "./net/slots.ts"
import { probeAccelerator, TCG_WARNING, type Verdict } from "./vmm/host/accelerator.ts"
import { keptQemuVersion, keptTscKHz } from "./vmm/host/host-facts.ts"
import { prepareOverlays } from "./vmm/overlay.ts"
import { createQemuVmm } from "./vmm/qemu.ts"
import type { Accelerator } from "./vmm/vmm.ts"

export interface VmGroundOptions {
  readonly config: Config
  readonly base: BaseArtifacts
  readonly hostId: string
  readonly dataDirectory: string
  readonly log: Log
}

export interface VmGround extends AsyncDisposable, Pick<VmHostOptions, "vmm" | "slots" | "ledger"> {
  readonly accelerator: Accelerator
  /** Makes an empty file for a root disk's writes. */
  readonly createOverlay: (path: string) => Promise<void>
}

/** Opens it; what an earlier daemon left is not looked at. Disposing leaves VMs as they are. */
export const openVmGround = async (options: VmGroundOptions, signal: AbortSignal): Promise<VmGround> => {
  const { config, base, hostId, dataDirectory } = options
  await using opened = new AsyncDisposableStack()
  const tunDevice = join(dataDirectory, "tun")
  const opening = async (whole: AbortSignal) => {
    const slots = await openHostSlots(options, whole)
    opened.defer(() => slots.close())
    return slots
  }
  const [{ accelerator }, slots, rate, createOverlay] = await atOnce(
    (whole) => [
      judge(options, whole),
      opening(whole),
      keptTscKHz(dataDirectory, whole),
      prepareOverlays(dataDirectory, whole),
      mknod(tunDevice, whole),
    ],
    signal,
  )
  const vmm = await createQemuVmm({
    hostId,
    accelerator,
    qemuDirectory: join(dataDirectory, "qemu"),
    tscKHz: rate,
    kernelHash: base.kernelHash,
    emptyDrive: base.emptyDrive,
    runDirectory: join("/run/torpor/vms", hostId.slice(0, 8)),
    tunDevice,
  })
  opened.defer(() => vmm.close())
  const ledger = createLedger(Math.floor(totalmem() / 1024 ** 2) - config.hostMemoryReservedMiB)
  const held = opened.move()
  return { vmm, slots, ledger, accelerator, createOverlay, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

const judge = async ({ base, dataDirectory, log }: VmGroundOptions, signal: AbortSignal): Promise<Verdict> => {
  const version = await keptQemuVersion(dataDirectory, signal)
  const verdict = await probeAccelerator({ ...base, qemuVersion: version, directory: dataDirectory }, signal)
  log.info({ accelerator: verdict.accelerator, reason: verdict.reason }, "Accelerator")
  if (verdict.accelerator === "tcg") log.warn(TCG_WARNING)
  return verdict
}

const openHostSlots = ({ config, hostId, log }: VmGroundOptions, signal: AbortSignal) =>
  openSlots(
    {
      hostId,
      ready: config.slots.ready,
      uidBase: config.slots.uidBase,
      addressRange: config.slots.addressRange,
      policy: {
        ...config.egress,
        allow: config.egress.allow.map(({ cidr, ports }) => (ports === undefined ? { cidr } : { cidr, ports })),
      },
      nameServers: config.nameServers,
      log,
    },
    signal,
  )
