/** The further drives of an environment's VM: the same files in each of its lives, whatever becomes of the names that others know them by. */
import { link, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { AgentClient } from "../../src/agent/client.ts"
import type { DriveSpec } from "../../src/agent/protocol.ts"
import type { Drive, Vm } from "../../src/vmm/vmm.ts"
import { toDriveFile } from "../disks.ts"
import { FUNCTION_DRIVES, type FunctionDisks } from "../functions/disks/function-disks.ts"

export interface EnvironmentDisks extends FunctionDisks {
  /** `null` for the empty one. */
  readonly runtime: string | null
}

/** What a VM writes of its `/tmp`. */
export const temporaryOverlay = (directory: string) => join(directory, "disk", "temporary.qcow2")

const placesOf = (directory: string) => ({
  list: join(directory, "drives.json"),
  overlay: temporaryOverlay(directory),
})

/** Notes the drives in the VM's directory, each by a name of its own; `/tmp` is written to a fresh overlay, or to that which is there. Resolves with what is behind them there. */
export const layDrives = async (
  directory: string,
  disks: EnvironmentDisks,
  createOverlay?: (path: string) => Promise<void>,
): Promise<EnvironmentDisks> => {
  const { list, overlay } = placesOf(directory)
  const names = Object.keys(FUNCTION_DRIVES) as (keyof typeof FUNCTION_DRIVES)[]
  const [kept] = await Promise.all([
    Promise.all(names.map((name) => keepDrive(directory, name, disks[name]))),
    createOverlay?.(overlay),
  ])
  const laid = Object.fromEntries(names.map((name, index) => [name, kept[index]])) as unknown as EnvironmentDisks
  await writeFile(list, JSON.stringify(laid))
  return laid
}

/** A second name in the VM's directory, so that the file stays while this VM does; on another file system the first must do. */
export const keepDrive = async <File extends string | null>(
  directory: string,
  name: keyof typeof FUNCTION_DRIVES,
  file: File,
): Promise<File | string> => {
  const to = join(directory, "disk", `${name}.raw`)
  if (file === null || file === to) return file
  try {
    await link(file, to)
    return to
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EXDEV") throw error
    return file
  }
}

/** Those that were laid in a directory. */
export const readLaid = async (directory: string): Promise<EnvironmentDisks> =>
  JSON.parse(await readFile(placesOf(directory).list, "utf8")) as EnvironmentDisks

/** Puts the laid files of a function behind the drives of a warm VM, which has its `/tmp`; rejects where one has no name in the VM's directory. */
export const swapDrives = async (vm: Vm, { code, layers }: EnvironmentDisks): Promise<void> => {
  await Promise.all([
    vm.swapDrive(FUNCTION_DRIVES.code, code),
    layers === null ? undefined : vm.swapDrive(FUNCTION_DRIVES.layers, layers),
  ])
}

/** For an agent that is asked at once, in a guest that has just begun to run. */
const MOUNT_MS = 30_000

/** Settled when an agent has mounted them, which nobody need wait for: what it is told next it does behind that. */
export const mountDrives = (agent: Pick<AgentClient, "mountDrives">, drives: readonly DriveSpec[]): Promise<void> => {
  const mounted = agent.mountDrives(drives, AbortSignal.timeout(MOUNT_MS))
  mounted.catch(() => {})
  return mounted
}

/** The drives of a VM whose drives were laid, in the layout's order; a drive without a file is an empty one. */
export const readDrives = async (directory: string, emptyDrive: string): Promise<Drive[]> => {
  const { overlay } = placesOf(directory)
  const disks = await readLaid(directory)
  const drives: Drive[] = []
  for (const [name, index] of Object.entries(FUNCTION_DRIVES)) {
    const chain = [toDriveFile(disks[name as keyof EnvironmentDisks] ?? emptyDrive)]
    drives[index] =
      name === "temporary" ? { chain: [...chain, toDriveFile(overlay)], readOnly: false } : { chain, readOnly: true }
  }
  return drives
}
