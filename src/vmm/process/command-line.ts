import { deviceArguments, type Drives } from "./devices.ts"
import { FIRST_FD } from "./jail.ts"
import { processName } from "./process.ts"
import { socketNames } from "./sockets.ts"
import type { Accelerator, VmProcess, VmSpec } from "../vmm.ts"

export const QEMU = "qemu-system-x86_64"
/** How much of the translation cache a VM may have: the default made a process of 350 MB out of one of 50. */
const TRANSLATION_CACHE_MIB = 128
/** The guest's serial console, kept in a ring: a guest that floods it costs nothing. */
const CONSOLE_BYTES = 65536

/** Always named: a restore with another one loads without an error, and hangs. */
export const cpuOf = (accelerator: Accelerator) => (accelerator === "kvm" ? "host" : "max")

/** QEMU's arguments that are the same for a boot and a restore; its sockets come as file descriptors from {@link FIRST_FD} on. */
export const commandLine = (
  { hostId, accelerator }: { hostId: string; accelerator: Accelerator },
  spec: Pick<VmProcess, "id"> & Pick<VmSpec, "slot" | "memoryMiB" | "vcpus">,
  drives: Drives,
  memory: string,
): string[] => {
  const fd = (name: (typeof socketNames)[number]) => FIRST_FD + socketNames.indexOf(name)
  return [
    "-name",
    processName(hostId),
    "-uuid",
    spec.id,
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-no-reboot",
    "-M",
    "microvm,isa-serial=on,rtc=on,pit=off,pic=off,memory-backend=mem,suppress-vmdesc=on",
    "-accel",
    accelerator === "kvm" ? "kvm" : `tcg,tb-size=${TRANSLATION_CACHE_MIB}`,
    "-cpu",
    cpuOf(accelerator),
    "-smp",
    String(spec.vcpus),
    "-m",
    `${spec.memoryMiB}M`,
    "-object",
    memory,
    "-sandbox",
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    "-chardev",
    `socket,id=qmp,fd=${fd("qmp")},server=on,wait=off`,
    "-mon",
    "chardev=qmp,mode=control",
    "-chardev",
    `ringbuf,id=console,size=${CONSOLE_BYTES}`,
    "-serial",
    "chardev:console",
    ...deviceArguments(drives, spec.slot.tap, { thaw: fd("thaw"), agent: fd("agent") }),
  ]
}
