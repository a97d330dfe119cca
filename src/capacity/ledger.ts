/**
 * The one account of what this host can still hold: guest memory by VM, worst case, so that it is never met by swapping.
 * Kept in memory: it is rebuilt from the VMs that are adopted at start.
 */
export interface Ledger {
  /** Books `memoryMiB` for a VM; booking it again changes nothing. Answers `false`, and books nothing, when it doesn't fit. */
  reserve(vmId: string, memoryMiB: number): boolean
  release(vmId: string): void
  /** Calls back whenever memory was given back; answers what stops it. */
  onRelease(listener: () => void): () => void
  readonly reservedMiB: number
  readonly capacityMiB: number
}

/** What a VMM process needs beside its guest's memory: code, translation cache, stacks. */
export const VMM_OVERHEAD_MIB = 160

/** A ledger over `capacityMiB` of memory for guests and their VMM processes. */
export const createLedger = (capacityMiB: number): Ledger => {
  const booked = new Map<string, number>()
  const listeners = new Set<() => void>()
  let reservedMiB = 0
  return {
    reserve(vmId, memoryMiB) {
      if (booked.has(vmId)) return true
      const neededMiB = memoryMiB + VMM_OVERHEAD_MIB
      if (reservedMiB + neededMiB > capacityMiB) return false
      booked.set(vmId, neededMiB)
      reservedMiB += neededMiB
      return true
    },
    release(vmId) {
      reservedMiB -= booked.get(vmId) ?? 0
      if (booked.delete(vmId)) for (const listener of listeners) listener()
    },
    onRelease(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    get reservedMiB() {
      return reservedMiB
    },
    capacityMiB,
  }
}
