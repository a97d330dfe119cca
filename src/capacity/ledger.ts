/**
 * The one account of what this host can still hold: guest memory by VM, worst case, so that it is never met by swapping.
 * Kept in memory: it is rebuilt from the VMs that are adopted at start.
 */
export interface Ledger {
  /**
   * Books `memoryMiB` for a VM; booking it again changes nothing. What is offered is taken where there is no other room, the longest
   * offered first. Answers `false`, and books and takes nothing, when it doesn't fit even so.
   */
  reserve(vmId: string, memoryMiB: number): boolean
  release(vmId: string): void
  /**
   * Whoever needs it may have what is booked for this VM: `giveUp` is called in the tick in which it is another's, and gives the memory
   * back without delay. Answers what takes the offer back.
   */
  offer(vmId: string, giveUp: () => void): () => void
  /** Calls back whenever memory was given back, or offered; answers what stops it. */
  onRelease(listener: () => void): () => void
  /** Without what is offered. */
  readonly reservedMiB: number
  readonly capacityMiB: number
}

/** What a VMM process needs beside its guest's memory: code, translation cache, stacks. */
export const VMM_OVERHEAD_MIB = 160

/** A ledger over `capacityMiB` of memory for guests and their VMM processes. */
export const createLedger = (capacityMiB: number): Ledger => {
  const booked = new Map<string, number>()
  const offered = new Map<string, () => void>()
  const listeners = new Set<() => void>()
  let reservedMiB = 0
  let offeredMiB = 0
  const announce = () => {
    for (const listener of listeners) listener()
  }
  const strike = (vmId: string): boolean => {
    const memoryMiB = booked.get(vmId) ?? 0
    if (offered.delete(vmId)) offeredMiB -= memoryMiB
    else reservedMiB -= memoryMiB
    return booked.delete(vmId)
  }
  return {
    reserve(vmId, memoryMiB) {
      if (booked.has(vmId)) return true
      const neededMiB = memoryMiB + VMM_OVERHEAD_MIB
      if (reservedMiB + neededMiB > capacityMiB) return false
      for (const [id, giveUp] of offered) {
        if (reservedMiB + offeredMiB + neededMiB <= capacityMiB) break
        strike(id)
        giveUp()
      }
      booked.set(vmId, neededMiB)
      reservedMiB += neededMiB
      return true
    },
    release(vmId) {
      if (strike(vmId)) announce()
    },
    offer(vmId, giveUp) {
      const memoryMiB = booked.get(vmId)
      if (memoryMiB === undefined || offered.has(vmId)) return () => {}
      offered.set(vmId, giveUp)
      offeredMiB += memoryMiB
      reservedMiB -= memoryMiB
      announce()
      return () => {
        if (offered.get(vmId) !== giveUp) return
        offered.delete(vmId)
        offeredMiB -= memoryMiB
        reservedMiB += memoryMiB
      }
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
