import type { Slot } from "../net/slot.ts"

/**
 * What runs virtual machines. QEMU is the first implementation; Firecracker fits behind the same verbs.
 * A `Vmm` knows files, processes and a slot; it knows no image, no user, no database and no HTTP.
 */
export interface Vmm {
  readonly accelerator: Accelerator
  /** Starts a guest from its kernel with its memory in `memoryFile`, so that the file can become a base. Running when it resolves. */
  boot(spec: BootSpec, signal: AbortSignal): Promise<Vm>
  /** Loads a guest from a base, and from its delta when it has slept. Paused when it resolves: the caller continues it. */
  launch(spec: LaunchSpec, signal: AbortSignal): Promise<Vm>
  /** Starts a process for some VM of a base: most of what a launch waits for is done when it resolves. */
  prepare(spec: SpareSpec, signal: AbortSignal): Promise<Spare>
  /**
   * Loads the base into a process that stands ready and hands the guest to `run`, which lets it run as a VM of the process's own id and
   * leaves it paused. A VM that has not slept begins where that guest is. Resolves with the memory that is the process's own, in MiB;
   * where it rejects the process is of no use.
   */
  rehearse(spare: Spare, run: (vm: Vm) => Promise<void>, signal: AbortSignal): Promise<number>
  /** Whether a base of this size is there, unaltered, and what a boot would make it of now: this machine, kernel and installed QEMU. */
  isCurrent(base: BasePaths, size: VmSize, signal: AbortSignal): Promise<boolean>
  /** Takes over a process that another daemon started, or answers `undefined` when it is gone or is another's. */
  adopt(process: VmProcess, spec: VmSpec & { base: BasePaths }, signal: AbortSignal): Promise<Vm | undefined>
  /** Ends a process by its identity, whatever state it is in; resolves when it is gone. Nothing happens when it already is. Rejects when it is gone and something of it is left. */
  destroy(process: VmProcess): Promise<void>
  /** The VM processes on this machine whose host id (first eight digits) is ours: for the sweep at start. */
  find(): Promise<VmProcess[]>
  /**
   * Removes what processes that are gone have left on this machine, but for those of these ids: a daemon that was killed while one was
   * started has nobody else who knows of it.
   */
  sweep(keep: ReadonlySet<string>): Promise<void>
  /** Removes what this host id keeps on the machine beside its VMs, when none is left; those that are run on. */
  close(): Promise<void>
}

export type Accelerator = "kvm" | "tcg"

/** A VM process is known by all three: a pid alone may be somebody else's by now. */
export interface VmProcess {
  /** Its VM's, or one of its own where it was started before its VM was known. */
  readonly id: string
  readonly pid: number
  /** Field 22 of /proc/PID/stat, in clock ticks since boot. */
  readonly startTime: number
}

/** One drive of device layout v1. `chain` is bottom first; every file but the last is read-only, the last is written unless `readOnly`. */
export interface Drive {
  readonly chain: readonly DriveFile[]
  readonly readOnly: boolean
}

export interface DriveFile {
  readonly path: string
  readonly format: "raw" | "qcow2"
}

export interface VmSize {
  readonly memoryMiB: number
  readonly vcpus: number
}

export interface VmSpec extends VmSize {
  readonly vmId: string
  readonly slot: Slot
  /** The one directory that its process may write to: the VM's, or of a process that stood ready the process's own. */
  readonly directory: string
}

export interface BootSpec extends VmSpec {
  readonly kernel: string
  readonly initramfs: string
  readonly systemDisk: string
  readonly rootDisk: readonly DriveFile[]
  /** At most four; the rest are empty files of 10 GiB virtual size. */
  readonly extraDrives: readonly Drive[]
  /** Where the guest's memory lives while it runs; becomes the base's RAM. */
  readonly memoryFile: string
}

export interface LaunchSpec extends VmSpec {
  readonly base: BasePaths
  readonly systemDisk: string
  readonly rootDisk: readonly DriveFile[]
  readonly extraDrives: readonly Drive[]
  /** Present when the VM has slept, or goes on from where another was: what that had changed, and its devices. */
  readonly delta?: DeltaPaths
  /** Where the guest gets a copy of the base's memory of its own, so that it can become another base; without it, it can sleep. */
  readonly memoryFile?: string
  /**
   * A process that stood ready for this base, whose slot and directory are the VM's: it is this VM's from here on, and ended where the
   * launch fails. The root disk's last file and those of the further drives, in that directory, take the place of its own.
   * In one that is loaded they are its own, and there is no delta.
   */
  readonly spare?: Spare
}

/** What a process needs before it is known whose it will be. */
export interface SpareSpec extends VmSize {
  readonly id: string
  readonly slot: Slot
  /** Of this process alone. */
  readonly directory: string
  readonly base: BasePaths
  readonly systemDisk: string
  /** The root disk's files that are read, bottom first, and the one in the directory that is written. */
  readonly rootDisk: readonly DriveFile[]
  readonly overlay: DriveFile
  /** Those that the VM's take the place of: each read-only or not as its is, with as many files, of the same formats. */
  readonly extraDrives: readonly Drive[]
}

/** A process that stands ready. Whoever has it ends it, or gives it to a launch. */
export interface Spare {
  readonly process: VmProcess
  readonly spec: SpareSpec
  /** Whether its base has been loaded, and its guest has run. */
  readonly isLoaded: boolean
  /** Resolves when it has ended, whoever ended it. */
  readonly exited: Promise<void>
  kill(): Promise<void>
}

export interface BasePaths {
  /** Holds `manifest.json`, `ram` and `state`; read-only for good. */
  readonly directory: string
}

export interface DeltaPaths {
  readonly file: string
  readonly state: string
  /** The life whose memory it is: an older one's is never loaded. */
  readonly incarnation: number
  /** The VM whose memory it was, when that is another, whose disks this one has copies of. */
  readonly vmId?: string
}

export interface VmExit {
  /** The sentence for people: what QEMU last said, or the signal. */
  readonly reason: string
  /** True when the guest powered itself off or reset. */
  readonly byGuest: boolean
}

/** A live VM process. Dropping the object leaves the process running; `kill` ends it. */
export interface Vm {
  readonly process: VmProcess
  readonly spec: VmSpec
  /** Unix sockets of the two virtio-serial ports: `thaw` (requests) and `agent` (events from the guest). */
  readonly ports: { readonly thaw: string; readonly agent: string }
  /** Resolves once, when the process has ended, whoever ended it. */
  readonly exited: Promise<VmExit>
  pause(): Promise<void>
  continue(): Promise<void>
  /** Whether its processors run at this moment, as QEMU says. */
  status(): Promise<"running" | "paused">
  /** Whether it has a processor only while no other VM wants it, where this host can tell them apart. */
  giveWay(does: boolean): Promise<void>
  /** Resolves when the guest has had nothing to do for a while, or has not come to rest in ten seconds. */
  untilQuiet(signal: AbortSignal): Promise<void>
  /**
   * Seals the root disk's top file and goes on in `next`, an empty overlay that exists. The guest's file system must be frozen or quiet.
   * Booted, or launched with a memory file, only.
   */
  sealRootDisk(next: DriveFile): Promise<void>
  /** Moves all that the root disk's files above the lowest hold into the top one, which then stands on the lowest. As {@link Vm.sealRootDisk}. */
  mergeRootDisk(signal: AbortSignal): Promise<void>
  /**
   * Puts another raw file, in the VM's directory, in the place of the lowest file of a further drive, by its number. Its guest has the
   * drive not in use and knows nothing of what was there; it finds no other size.
   */
  swapDrive(drive: number, path: string): Promise<void>
  /**
   * Paused, and without a memory file only: keeps what its guest has come to since it was launched, for all that are launched from its
   * base: that is what they touch first. Nothing when it is known, or is very much.
   */
  noteTouched(): Promise<void>
  /** Paused, and with a memory file only: writes state and manifest beside the RAM, makes all of it read-only. */
  saveBase(base: BasePaths, id: string): Promise<BaseSizes>
  /** Paused, and without a memory file only: writes delta and state, verified and synced when it resolves. The process still lives. */
  saveDelta(target: DeltaPaths): Promise<DeltaSizes>
  /** The end of the guest's serial console, bounded: for the log of a boot that failed. */
  console(): Promise<string>
  kill(): Promise<void>
}

export interface BaseSizes {
  /** Blocks that the RAM file really holds. */
  readonly memoryBytes: number
  readonly stateBytes: number
}

export interface DeltaSizes {
  readonly pages: number
  readonly bytes: number
}
