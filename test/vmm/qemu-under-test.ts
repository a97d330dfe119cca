import { join } from "node:path"
import { mknod } from "../../src/device-node.ts"
import { probeAccelerator } from "../../src/vmm/accelerator.ts"
import { qemuVersion, tscKHz } from "../../src/vmm/host-facts.ts"
import { createQemuVmm } from "../../src/vmm/qemu.ts"
import { runDirectoryOf, type CreateVmm } from "./vmm-host.ts"

/** QEMU as the daemon sets it up. */
export const createVmm: CreateVmm = async ({ hostId, directory, artifacts }, signal) => {
  const version = await qemuVersion(signal)
  const { accelerator } = await probeAccelerator({ ...artifacts, qemuVersion: version, directory }, signal)
  const tunDevice = join(directory, "tun")
  await mknod(tunDevice, signal)
  return createQemuVmm({
    hostId,
    accelerator,
    qemuVersion: version,
    tscKHz: await tscKHz(signal),
    kernelHash: artifacts.kernelHash,
    emptyDrive: artifacts.emptyDrive,
    runDirectory: runDirectoryOf(hostId),
    tunDevice,
  })
}
