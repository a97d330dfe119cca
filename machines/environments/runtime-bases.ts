/**
 * Bases that environments are launched from: one for a runtime and a size of VM. In its guest the agent runs, the image's disk is mounted
 * and the runtime's drive with it; nothing of a function is there, and no other further drive is mounted or was ever looked at. At its boot all but the runtime's were
 * drives that can be written: one that was seen read-only is so in every life.
 */

export interface RuntimeBase {
  /** Of a row in `bases`. */
  readonly baseId: string
  /** The guest's RAM: that of the class which holds the asked-for memory and the guest's own. */
  readonly memoryMiB: number
  /** The raw file, read-only, that must be behind the runtime's drive of every VM that is launched from it; `null` for the empty one. */
  readonly runtimeDrive: string | null
}

export interface RuntimeBases {
  /**
   * The base for functions of this runtime with this much memory, built when it isn't there: at once for everybody who asks. Rejects
   * when the runtime is unknown or its base could not be built.
   */
  of(runtime: string, memoryMiB: number, signal: AbortSignal): Promise<RuntimeBase>
}
