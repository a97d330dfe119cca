/**
 * What host and guest say to each other. The guest is hostile: every answer is bounded in size and time and parsed with these schemas.
 *
 * Three channels, by their cost on the way to the first answer:
 * - `thaw` port (virtio-serial 1): one line each way to the native helper. The only thing on the hot path.
 *   Each line begins with a number of the host's choice, up to 16 characters, that the answer gives back:
 *     host:  `T <unixNanoseconds> <hostname> <machineId 32 hex> <entropy 128 hex> <secret 64 hex> <incarnation>`   set all, then unfreeze
 *     host:  `F`                                                                                                    freeze the application
 *     host:  `R …`, as `T`                                                                                          set all, of a guest whose application stays frozen
 *     host:  `C <unixNanoseconds>`                                                                                  set the clock, of a guest that was only stopped
 *     guest: `OK` or `ERR <words>`
 * - `agent` port (virtio-serial 2): lines of JSON from the guest only ({@link AgentEvent}); a guest that says nothing costs nothing.
 * - TCP to the guest's agent port, for all the rest. A connection begins with the secret of this life, in a frame, and carries {@link Calls} or, by
 *   event-frames.ts, a function's {@link SentInvocation}s with their events and the answers to them; or it is HTTP/2 (prior knowledge), each
 *   request with `authorization: Bearer <secret>`, for what is streamed:
 *     GET    /processes/{name}/output                            {@link OutputFrame} lines, from the oldest kept, until it has ended
 *     GET    /files?path=                                        a file's bytes; how many is said by a header before the first
 *     PUT    /files?path=&max=&mode=&owner=&parents              replaces or makes a file, whole or not at all
 *     DELETE /files?path=                                        removes a file, a link or an empty directory
 *     GET    /files?path=&list&after=&limit=  {@link FileList}   a page of a directory
 *
 * Paths are of the image's root file system, links in them followed inside it.
 */
import { z } from "zod"
import { wordsOf } from "../words.ts"
import { EVENT_LINE_MAX, FILE_PAGE_MAX } from "./version.ts"

/** What the host calls, with what; each is answered when it is done, with nothing where nothing else is said. */
export interface Calls {
  /** Starts a named process tree. */
  startProcess: { readonly name: string; readonly spec: ProcessSpec }
  /** Ends it, all of it. */
  endProcess: { readonly name: string }
  /** The applications' output so far, and then the mark, are on the agent port. */
  flushOutput: { readonly mark: string }
  /** Mounts the file systems of further drives. */
  mountDrives: readonly DriveSpec[]
  /** Refused while anything has it open. */
  unmountDrive: { readonly drive: number }
  /** Unpacks the archive drive into the build context. */
  unpackContext: ContextSpec
  /** Unpacks zips over each other into a drive, and unmounts it. */
  unpackCode: UnpackSpec
  /** Fetches a file from the network. */
  download: DownloadSpec
  /** Layers of an image become the image. */
  applyLayers: LayersSpec
  /** From a drive into the image. */
  copy: CopySpec
  /** Makes a directory in the image. */
  makeDirectory: DirectorySpec
  /** The image's file system is there: once, in a guest that has just booted. */
  mountDisk: Nothing
  /** The image's file system, around the sealing of a layer. */
  freezeDisk: Nothing
  thawDisk: Nothing
  /** Nothing of the build is left in memory, and its guests know how to rehearse. */
  settle: Nothing
  /** While the application is frozen: what it will do for its first answer, where the agent can do the same. */
  rehearse: Nothing
  /** Answered when something accepts connections there. */
  untilListening: { readonly port: number }
  /** Starts the extensions and the runtime, and what they are to find; one function at a time. */
  startFunction: FunctionSpec
  /** Starts a runtime that waits for its function; the next that fits takes it. */
  startWaiting: ProcessSpec
  /** The function of training is over; its runtime waits again. */
  endTraining: Nothing
  /** {@link FunctionStep}, when runtime and extensions wait for their first event. */
  untilInitialised: Nothing
  /** The runtime may go on, after the restore of a snapshot; {@link FunctionStep} when it waits for its first event. */
  restoreFunction: RestoreSpec
  /** Its time has ended, and so has its invocation. */
  failFunction: FailureSpec
  /** What the host knows, for the extensions that subscribed. */
  recordForFunction: RecordSpec
  /** Ends its programs; answered when none is left. */
  endFunction: { readonly reason: "SPINDOWN" | "TIMEOUT" | "FAILURE" }
}

type Nothing = Readonly<Record<string, never>>

export const ProcessEnd = z.object({
  code: z.number().int(),
  /** Its name: it is shown to people, so nothing else may be in it. */
  signal: z
    .string()
    .regex(/^SIG[A-Z0-9+-]{1,13}$/)
    .nullable(),
  /** It was the kernel that ended it, for want of memory. */
  outOfMemory: z.literal(true).optional(),
})
export type ProcessEnd = z.infer<typeof ProcessEnd>

/** Events on the agent port, one JSON object a line. */
export const AgentEvent = z.discriminatedUnion("event", [
  z.object({ event: z.literal("hello"), protocol: z.number().int() }),
  ProcessEnd.extend({ event: z.literal("exited"), process: z.string().max(64) }),
  // What the application says, in the order of each stream; pieces of text, not lines.
  z.object({
    event: z.literal("output"),
    process: z.string().max(64),
    stream: z.enum(["stdout", "stderr"]),
    data: z.string().max(EVENT_LINE_MAX),
  }),
  // It said more than was taken in time.
  z.object({ event: z.literal("dropped"), process: z.string().max(64), characters: z.number().int().positive() }),
  z.object({ event: z.literal("flushed"), mark: z.string().max(64) }),
])
export type AgentEvent = z.infer<typeof AgentEvent>

export interface ProcessSpec {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  /** `name`, `uid`, `name:group` … as in a Dockerfile; resolved in the image's own /etc/passwd. */
  readonly user: string
  readonly capabilities: "default" | "all"
  /** The limit of its cgroup, beyond which all of its processes are killed; `null` is all of the guest's memory. */
  readonly memoryMaxMiB: number | null
  /** How many processes and threads it may have; the guest's own limit when it is left out. */
  readonly pidsMax?: number
  /** How many files each of its processes may have open; Docker's limits when it is left out. */
  readonly openFilesMax?: number
  /** Nothing of the image can be written to by it, but what is mounted for it. */
  readonly isRootReadOnly?: boolean
  /** Files that it finds at these paths and nobody else does; none by default. */
  readonly files?: readonly FileSpec[]
  /** What else is mounted for it; nothing by default. */
  readonly mounts?: readonly MountSpec[]
  /** `none`: a loopback of its own and nothing else. */
  readonly network?: "guest" | "none"
  /** `app` is frozen before snapshots and reached by users; `build` is gone when it ends. */
  readonly container: "app" | "build"
}

export interface FileSpec {
  readonly path: string
  readonly content: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

export type MountSpec =
  | { readonly kind: "tmpfs"; readonly target: string; readonly sizeBytes: number | null }
  /** The agent's own Node, in the place of an equal one: the guest has it in memory once, and an emulated processor translates it once. */
  | { readonly kind: "node"; readonly target: string }
  /** A directory that the next process by this name finds as this one leaves it; `name` without a slash. */
  | {
      readonly kind: "cache"
      readonly target: string
      readonly on: DrivePlace
      readonly name: string
      readonly isReadOnly: boolean
      readonly mode: number
      readonly uid: number
      readonly gid: number
      /** What is in it when it is new; `null` for nothing. */
      readonly seed: { readonly from: DrivePlace; readonly path: string } | null
    }
  /** A file or directory of a drive. What is written to it stays there, where that is said; it goes to a copy, where there is one, and is lost. */
  | {
      readonly kind: "bind"
      readonly target: string
      readonly from: DrivePlace
      readonly path: string
      readonly copyTo: DrivePlace | null
      readonly isWritable?: boolean
    }

/** A piece of output, or how it ended. `dropped` counts characters that were lost because nobody read them in time. */
export const OutputFrame = z.union([
  z.object({ stream: z.enum(["stdout", "stderr"]), data: z.string().max(256 * 1024) }),
  z.object({ dropped: z.number().int() }),
  z.object({ end: ProcessEnd }),
])
export type OutputFrame = z.infer<typeof OutputFrame>

/** A directory of one of the four further drives, by the drive's number; the path begins with a slash. */
export interface DrivePlace {
  readonly drive: number
  readonly path: string
}

export interface DriveSpec {
  readonly drive: number
  readonly isReadOnly: boolean
}

export interface ContextSpec {
  readonly archiveDrive: number
  /** How much of the archive drive is the archive. */
  readonly archiveBytes: number
  /** A drive that is mounted; its size bounds what the archive may become. */
  readonly into: DrivePlace
  /** Paths that are left out, with all that is below them. */
  readonly excluded: readonly string[]
}

export interface UnpackSpec {
  /** A drive that is mounted; in it the zips are files named `0`, `1` …, the lowest first. */
  readonly from: DrivePlace
  readonly count: number
  /** A directory that isn't there yet, of a drive that is mounted. */
  readonly into: DrivePlace
}

export interface CopySpec {
  /** Of a drive that is mounted; all paths below are of it. */
  readonly from: DrivePlace
  /** How that is called: "in the build context". */
  readonly where: string
  /** Files, or directories whose content is copied. Of its parts `dropped` many are not kept by {@link keepsParents}. */
  readonly sources: readonly { readonly path: string; readonly dropped: number }[]
  /** They are globs, to be resolved where they are. */
  readonly hasGlobs: boolean
  /** Further files, with this content; their mode is 0644 when none is given. */
  readonly inline: readonly { readonly name: string; readonly content: string }[]
  /** Absolute; a directory when it ends with a slash, exists as one, or there are several sources. */
  readonly destination: string
  /** `user`, `user:group`, ids or names; `null` is 0:0. */
  readonly owner: string | null
  /** As chmod takes it; `null` keeps the source's. */
  readonly mode: string | null
  /** Patterns of what is left out. */
  readonly exclude: readonly string[]
  /** Each is copied with the directories that it is in. */
  readonly keepsParents: boolean
  /** A tar is not copied, but what is in it. */
  readonly unpacks: boolean
  /** Links on the way to the destination are replaced by directories, and not followed. */
  readonly replacesLinks: boolean
}

export interface DownloadSpec {
  readonly url: string
  /** Of a drive that is mounted. */
  readonly into: DrivePlace
  /** The file's name there. */
  readonly name: string
  /** `sha256:…`, compared when it is given. */
  readonly checksum: string | null
}

export interface LayersSpec {
  /** A drive that is mounted; in it the layers are files named `0`, `1` …, the lowest first. */
  readonly from: DrivePlace
  readonly count: number
}

export interface DirectorySpec {
  readonly path: string
  /** The user in force; owns what is made. */
  readonly owner: string | null
}

const id = z
  .number()
  .int()
  .min(0)
  .max(2 ** 32 - 1)

export const FileEntry = z.object({
  /** With U+FFFD for what isn't text; such a file cannot be named. */
  name: z.string().min(1).max(255),
  type: z.enum(["file", "directory", "link", "fifo", "socket", "device"]),
  size: z.number().int().nonnegative(),
  mode: z.number().int().min(0).max(0o7777),
  uid: id,
  gid: id,
  /** Milliseconds since 1970. */
  modifiedAt: z.number().int(),
})
export type FileEntry = z.infer<typeof FileEntry>

export const FileList = z.object({
  entries: z.array(FileEntry).max(FILE_PAGE_MAX),
  /** Where the next page begins, for the guest alone to understand; `null` when this is the last. */
  next: z
    .string()
    .regex(/^[\w-]{1,400}$/)
    .nullable(),
})
export type FileList = z.infer<typeof FileList>

/** Why a file was refused, as far as a caller may want to tell apart. */
export const FileErrorCode = z.enum(["ENOENT", "ENOTDIR", "EISDIR", "EINVAL", "ENOTEMPTY", "EFBIG", "ENOSPC", "ELOOP"])
export type FileErrorCode = z.infer<typeof FileErrorCode>

export interface FunctionSpec {
  readonly identity: {
    readonly functionName: string
    readonly functionVersion: string
    readonly handler: string
    readonly accountId: string
  }
  /** The extensions of /opt/extensions are started alike, before it. Both are told where their APIs are. */
  readonly runtime: ProcessSpec
  /** Of one processor, what its programs have together once they are initialised: all of it when it is left out, and until then. */
  readonly processorShare?: number
  /** The runtime of a `snap-start` may wait for its restore. */
  readonly initializationType: "on-demand" | "provisioned-concurrency" | "snap-start"
  /** It is none: a runtime that waits is trained by it. */
  readonly isTraining?: boolean
}

/** A name becomes a part of lines and reasons of the host's. */
const MAX_FAILURE_NAME_CHARACTERS = 256

/** Whether it came so far; `failed` is the kind of the failure that came before. */
export const FunctionStep = z.object({
  failed: z
    .string()
    .max(MAX_FAILURE_NAME_CHARACTERS)
    .transform((name) => wordsOf(name, MAX_FAILURE_NAME_CHARACTERS))
    .nullable(),
  /** Some have registered: its end is theirs to know. */
  hasExtensions: z.boolean(),
  /** Something was said meanwhile, which is before the mark `initialised`, or `restored`; else there is no mark. An agent that doesn't say so sets it always. */
  hasSpoken: z.boolean().default(true),
})
export type FunctionStep = z.infer<typeof FunctionStep>

/** What is known of an invocation at its end, in the last of its frames. What was said meanwhile is before the mark of its request's id. */
export const InvocationEnd = z.object({
  /** From when the runtime was given the event. */
  durationMs: z.number().nonnegative(),
  /** Its programs are at their end too: they are ended, and started again, before there is another. */
  isOver: z.boolean(),
  /** The most that its programs have had, since the first of them. */
  maxMemoryBytes: z.number().int().nonnegative(),
})
export type InvocationEnd = z.infer<typeof InvocationEnd>

export interface RestoreSpec {
  /** Variables that the runtime did not have in its snapshot: an environment's own. */
  readonly env: Readonly<Record<string, string>>
}

export interface InvocationSpec {
  readonly requestId: string
  /** Milliseconds since 1970. */
  readonly deadlineMs: number
  readonly functionArn: string
  readonly mode: "buffered" | "streaming"
  readonly contentType?: string
  readonly traceId?: string
  /** JSON. */
  readonly clientContext?: string
  /** JSON. */
  readonly cognitoIdentity?: string
  readonly tenantId?: string
}

export interface SentInvocation extends InvocationSpec {
  /** The host's clock, in milliseconds since 1970: the guest's is set to it meanwhile, when it was stopped. */
  readonly sentAt: number
}

export interface FailureSpec {
  readonly errorType: string
  readonly errorMessage: string
}

export interface RecordSpec {
  /** `platform.report` and the like. */
  readonly type: `platform.${string}`
  readonly record: Readonly<Record<string, unknown>>
}
