/** What goes into a process that was started to be loaded: memory, and devices. */
import { chmod, chown } from "node:fs/promises"
import { runCommand } from "../command.ts"
import { SnapshotRefused } from "./manifest.ts"
import type { Delta } from "./memory/delta.ts"
import { PAGE_BYTES, type ProcessMemory, type Touched } from "./memory/memory-map.ts"
import type { Qmp } from "./qmp/qmp.ts"
import { fetchRead, fetchWritten } from "./memory/working-sets.ts"

/** A copy of a base's memory for one guest. Holes stay holes, and where the file system can, no block is copied. */
export const copyMemory = async (from: string, to: string, uid: number, signal: AbortSignal) => {
  await runCommand("cp", ["--reflink=auto", "--sparse=always", "--no-preserve=all", from, to], { signal })
  await chmod(to, 0o600)
  await chown(to, uid, uid)
}

/** A delta is loaded only into the VM, the base and the life it was taken from. */
export const refuseStrangers = (
  header: { vmId: string; baseId: string; incarnation: number; memoryPages: number },
  wanted: { vmId: string; baseId: string; incarnation: number; memoryMiB: number },
) => {
  if (header.vmId !== wanted.vmId) throw new SnapshotRefused("The delta is of another VM")
  if (header.baseId !== wanted.baseId) throw new SnapshotRefused("The delta is of another base")
  if (header.incarnation !== wanted.incarnation) throw new SnapshotRefused("The delta is of another life of the VM")
  if (header.memoryPages * PAGE_BYTES !== wanted.memoryMiB * 1024 ** 2)
    throw new SnapshotRefused("The delta is of a guest of another size")
}

export interface Loading {
  readonly qmp: Qmp
  /** The private mapping of its base's memory, to be written. */
  readonly openMemory: () => Promise<ProcessMemory>
  readonly delta: Pick<Delta, "load"> | undefined
  /** What guests of its base touch first, if that is known. */
  readonly touched: Touched | undefined
  readonly state: string
}

/** Memory, then devices; resolves when the guest is loaded and paused. */
export const loadGuest = async (
  { qmp, openMemory, delta, touched, state }: Loading,
  signal: AbortSignal,
): Promise<void> => {
  await using memory = delta === undefined && touched === undefined ? undefined : await openMemory()
  // Before the devices: loaded after them, virtio finds its rings inconsistent and the network is dead.
  if (memory !== undefined && delta !== undefined) await delta.load(memory)
  else if (memory !== undefined && touched !== undefined) await fetchWritten(memory, touched)
  // Beside them, since it changes nothing. Of a process that has ended is heard by who loads its devices.
  const fetched = memory && touched && fetchRead(memory, touched).catch(() => {})
  try {
    await loadDevices(qmp, state, signal)
  } finally {
    await fetched
  }
}

/** Less than a second's work where nothing is stuck. */
const LOAD_TIMEOUT_MS = 300_000

/** Devices from a file; resolves when the guest is loaded and paused. */
const loadDevices = async (qmp: Qmp, state: string, signal: AbortSignal): Promise<void> => {
  signal.throwIfAborted()
  let timer: NodeJS.Timeout | undefined
  const loaded = new Promise<void>((resolve, reject) => {
    const late = () => reject(new Error(`QEMU did not load the device state within ${LOAD_TIMEOUT_MS / 1000} s`))
    timer = setTimeout(late, LOAD_TIMEOUT_MS)
    const onEvent = (name: string, data: Record<string, unknown>) => {
      if (name !== "MIGRATION") return
      if (data["status"] === "completed") resolve()
      else if (data["status"] === "failed") reject(new SnapshotRefused("QEMU could not load the device state"))
    }
    qmp.on("event", onEvent)
    qmp.once("close", () => reject(new SnapshotRefused("QEMU ended while it loaded the device state")))
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true })
  })
  // QEMU takes them in order: none waits for the answer to the one before. No other machine has to learn where this guest is now.
  await Promise.all([
    loaded,
    qmp.execute("migrate-set-capabilities", { capabilities: [{ capability: "events", state: true }] }),
    qmp.execute("migrate-set-parameters", { "announce-rounds": 0 }),
    qmp.execute("migrate-incoming", { uri: `file:${state}` }),
  ]).finally(() => clearTimeout(timer))
}
