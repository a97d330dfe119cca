/** The VMs of a daemon's host, put together: what accelerates them, their slots, their processes, and the memory that is theirs. */
import { totalmem } from "node:os"
import { join } from "node:path"
import type { Artifacts as BaseArtifacts } from "../images/artifacts.ts"
import { createVmHost, type VmHost, type VmHostOptions } from "../machines/vm.ts"
import { createLedger } from "./capacity/ledger.ts"
import type { Config } from "./config.ts"
import { mknod } from "./device-node.ts"
import { openSlots } from "./net/slots.ts"
import type { Secrets } from "./secrets.ts"
import { probeAccelerator, TCG_WARNING } from "./vmm/accelerator.ts"
import { qemuVersion, tscKHz } from "./vmm/host-facts.ts"
import { prepareOverlays } from "./vmm/overlay.ts"
import { createQemuVmm } from "./vmm/qemu.ts"
import type { Accelerator } from "./vmm/vmm.ts"

export interface OpenVmHostOptions extends Pick<VmHostOptions, "db" | "hostId" | "dataDirectory" | "logs" | "log"> {
  readonly config: Config
  readonly base: BaseArtifacts
  readonly secrets: Secrets
}

export interface OpenVmHost extends AsyncDisposable {
  readonly host: VmHost
  readonly accelerator: Accelerator
  /** Makes an empty file for a root disk's writes. */
  readonly createOverlay: (path: string) => Promise<void>
}

/** Opens it; what an earlier daemon left is not looked at. Disposing leaves VMs as they are. */
export const openVmHost = async (
  { config, base, secrets, ...options }: OpenVmHostOptions,
  signal: AbortSignal,
): Promise<OpenVmHost> => {
  const { hostId, dataDirectory, log } = options
  await using opened = new AsyncDisposableStack()
  const version = await qemuVersion(signal)
  const verdict = await probeAccelerator({ ...base, qemuVersion: version, directory: dataDirectory }, signal)
  log.info({ accelerator: verdict.accelerator, reason: verdict.reason }, "Accelerator")
  if (verdict.accelerator === "tcg") log.warn(TCG_WARNING)
  const slots = await openSlots(
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
  opened.defer(() => slots.close())
  const tunDevice = join(dataDirectory, "tun")
  await mknod(tunDevice, signal)
  const vmm = await createQemuVmm({
    hostId,
    accelerator: verdict.accelerator,
    qemuDirectory: join(dataDirectory, "qemu"),
    tscKHz: await tscKHz(signal),
    kernelHash: base.kernelHash,
    emptyDrive: base.emptyDrive,
    runDirectory: join("/run/torpor/vms", hostId.slice(0, 8)),
    tunDevice,
  })
  opened.defer(() => vmm.close())
  const ledger = createLedger(Math.floor(totalmem() / 1024 ** 2) - config.hostMemoryReservedMiB)
  const createOverlay = await prepareOverlays(dataDirectory, signal)
  const secretOf = (vmId: string, incarnation: number) => secrets.derive("agent", vmId, String(incarnation))
  const host = createVmHost({ ...options, vmm, slots, ledger, secretOf })
  const held = opened.move()
  return {
    host,
    accelerator: verdict.accelerator,
    createOverlay,
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}
