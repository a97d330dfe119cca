/** What boots from a kernel have in common, whatever becomes of the guest. */
import { mkdir, open } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { DRIVE_MIB } from "../../images/drive-size.ts"
import type { Drive, Vm } from "../../src/vmm/vmm.ts"
import type { Guest } from "../vms/guest.ts"

/** A cold boot takes seconds; emulated, with many at a time on few cores, a minute. */
const BOOT_TIMEOUT_MS = 180_000
const DRIVE_BYTES = DRIVE_MIB * 1024 ** 2

/** Resolves when the guest's agent has started; rejects when the guest has ended instead, or takes too long. */
export const untilBooted = async (vm: Vm, guest: Guest, signal: AbortSignal): Promise<void> => {
  const late = new AbortController()
  try {
    await Promise.race([
      guest.ready,
      vm.exited.then(({ reason }) => Promise.reject(new Error(`A guest ended while it booted: ${reason}`))),
      sleep(BOOT_TIMEOUT_MS, undefined, { signal: AbortSignal.any([signal, late.signal]) }).then(async () => {
        throw new Error(`A guest did not boot within ${BOOT_TIMEOUT_MS / 1000} s: ${(await vm.console()).slice(-500)}`)
      }),
    ])
  } finally {
    late.abort()
  }
}

/** Drives of nothing in a new directory. They are written ones: a drive that was seen read-only at boot is so in every life. */
export const makeEmptyDrives = async (directory: string, count: number): Promise<Drive[]> => {
  await mkdir(directory)
  return Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const path = join(directory, `${index}.raw`)
      await using file = await open(path, "wx")
      await file.truncate(DRIVE_BYTES)
      return { chain: [{ path, format: "raw" as const }], readOnly: false }
    }),
  )
}
