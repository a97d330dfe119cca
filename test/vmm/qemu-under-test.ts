import { join } from "node:path"
import { mknod } from "../../src/device-node.ts"
import { probeAccelerator } from "../../src/vmm/host/accelerator.ts"
import { qemuVersion, tscKHz } from "../../src/vmm/host/host-facts.ts"
import { createQemuVmm } from "../../src/vmm/qemu.ts"
import { runDirectoryOf, type CreateVmm, type VmmPlace } from "./vmm-host.ts"

/** QEMU as the daemon sets it up. */
export const createVmm: CreateVmm = (place, signal) => createQemu(place, {}, signal)

/** The same, and with another QEMU than the one on the PATH. */
export const createVmmWith =
  (executable: string): CreateVmm =>
  (place, signal) =>
    createQemu(place, { executable }, signal)

const createQemu = async (
  { hostId, directory, artifacts }: VmmPlace,
  installed: { readonly executable?: string },
  signal: AbortSignal,
) => {
  const version = await qemuVersion(signal)
  const { accelerator } = await probeAccelerator({ ...artifacts, qemuVersion: version, directory }, signal)
  const tunDevice = join(directory, "tun")
  await mknod(tunDevice, signal)
  return createQemuVmm({
    ...installed,
    hostId,
    accelerator,
    qemuDirectory: join(directory, "qemu"),
    tscKHz: await tscKHz(signal),
    kernelHash: artifacts.kernelHash,
    emptyDrive: artifacts.emptyDrive,
    runDirectory: runDirectoryOf(hostId),
    tunDevice,
  })
}
