/** The machine that guests are made for: what a base and this host must agree on, and how a guest is begun. */
import { createHash } from "node:crypto"
import { cpuOf } from "./process/command-line.ts"
import { DEVICE_LAYOUT } from "./process/devices.ts"
import type { Machine } from "./manifest.ts"
import type { Accelerator, VmSize } from "./vmm.ts"

export interface HostMachine {
  readonly accelerator: Accelerator
  readonly tscKHz: number
  /** Of the kernel that boots. */
  readonly kernelHash: string
}

/** What a base's manifest must say to be loaded here. */
export const machineOf = (
  { accelerator, tscKHz }: Pick<HostMachine, "accelerator" | "tscKHz">,
  { memoryMiB, vcpus }: VmSize,
): Machine => ({
  accelerator,
  cpu: cpuOf(accelerator),
  architecture: "x86_64",
  tscKHz,
  deviceLayout: DEVICE_LAYOUT,
  memoryMiB,
  vcpus,
})

/**
 * `psi=0`: nobody reads the pressure statistics, and counting them is a part of every switch between processes.
 * `lsm=landlock`: of the security modules only the one that needs nobody's policy; the others would be asked in every call, and know none.
 * `init_on_free=1`: what is free is zero, so that a base holds no more than is in use, and nothing of what has ended.
 */
export const bootParameters = ({ tscKHz }: Pick<HostMachine, "tscKHz">) =>
  `console=ttyS0 quiet reboot=t panic=-1 tsc=reliable tsc_early_khz=${tscKHz} nowatchdog no_timer_check psi=0 lsm=landlock init_on_free=1`

/** A guest that was booted otherwise is another guest. */
export const kernelHashOf = ({ kernelHash, tscKHz }: Pick<HostMachine, "kernelHash" | "tscKHz">) =>
  createHash("sha256")
    .update(`${kernelHash} ${bootParameters({ tscKHz })}`)
    .digest("hex")

/** For a guest that is to be loaded, and not booted. */
export const LOADED = ["-S", "-incoming", "defer", "-global", "migration.send-configuration=off"]

/** Guest memory that is shared with all VMs of a base until it is written. */
export const sharedMemory = ({ memoryMiB }: VmSize, ram: string) =>
  `memory-backend-file,id=mem,size=${memoryMiB}M,mem-path=${ram},share=off,readonly=on,rom=off`

export const ownMemory = ({ memoryMiB }: VmSize, file: string) =>
  `memory-backend-file,id=mem,size=${memoryMiB}M,mem-path=${file},share=on`
