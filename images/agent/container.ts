/** A process tree in the guest as Docker would run it: an OCI bundle for crun, on the image's root file system. */
import { IMAGE_ROOT } from "./image-root.ts"
import type { OciMount } from "./mounts.ts"
import type { ProcessSpec } from "../../src/agent/protocol.ts"
import type { User } from "./user.ts"

/** What the thaw helper rewrites in place; bind-mounted, so that a restore changes what the application reads. */
const IDENTITY = "/run/torpor"
const IDENTITY_MOUNTS = [
  ["hostname", "/etc/hostname"],
  ["hosts", "/etc/hosts"],
  ["resolv.conf", "/etc/resolv.conf"],
  ["machine-id", "/etc/machine-id"],
  ["boot_id", "/proc/sys/kernel/random/boot_id"],
] as const

/** Docker's own default. */
const DEFAULT_CAPABILITIES =
  "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
const FURTHER_CAPABILITIES =
  "DAC_READ_SEARCH LINUX_IMMUTABLE NET_BROADCAST NET_ADMIN IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG LEASE AUDIT_CONTROL MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"

const capabilityNames = (kind: ProcessSpec["capabilities"]) =>
  `${DEFAULT_CAPABILITIES}${kind === "all" ? ` ${FURTHER_CAPABILITIES}` : ""}`.split(" ").map((name) => `CAP_${name}`)

const mount = (destination: string, type: string, options: string) => ({
  destination,
  type,
  source: type,
  options: options.split(","),
})

const MOUNTS = [
  mount("/proc", "proc", "nosuid,noexec,nodev"),
  mount("/dev", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
  mount("/dev/pts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
  mount("/dev/shm", "tmpfs", "nosuid,noexec,nodev,mode=1777,size=65536k"),
  mount("/dev/mqueue", "mqueue", "nosuid,noexec,nodev"),
  mount("/sys", "sysfs", "nosuid,noexec,nodev,ro"),
  mount("/sys/fs/cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"),
]

/** `m` is making a node. */
const RESTRICTED_DEVICES = [
  { allow: false, access: "rwm" },
  { allow: true, type: "c", access: "m" },
  { allow: true, type: "b", access: "m" },
]

/** Where a container's processes are counted, limited, frozen and killed, below /sys/fs/cgroup. */
export const cgroupOf = (name: string, { container }: Pick<ProcessSpec, "container">) => `/torpor-${container}/${name}`

/** Where the bundle has what {@link ProcessSpec.files} says. */
export const fileOf = (bundle: string, index: number) => `${bundle}/file-${index}`

/** The bundle's config.json; what is mounted in the guest while it waits is mounted in it. */
export const toOciConfig = (
  name: string,
  spec: ProcessSpec,
  user: User,
  bundle: string,
  mounts: readonly OciMount[],
  isWaiting = false,
) => {
  const capabilities = capabilityNames(spec.capabilities)
  // A process that isn't root has what it may gain, and nothing yet.
  const effective = user.uid === 0 ? capabilities : []
  return {
    ociVersion: "1.0.2",
    root: { path: IMAGE_ROOT, readonly: spec.isRootReadOnly ?? false },
    hostname: "localhost",
    process: {
      terminal: false,
      user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
      args: spec.argv,
      env: Object.entries({ HOME: user.home, ...spec.env }).map(([key, value]) => `${key}=${value}`),
      cwd: spec.cwd,
      capabilities: { bounding: capabilities, effective, permitted: effective, inheritable: [], ambient: [] },
      rlimits: [{ type: "RLIMIT_NOFILE", soft: spec.openFilesMax ?? 1024, hard: spec.openFilesMax ?? 524288 }],
      noNewPrivileges: false,
    },
    mounts: [
      ...MOUNTS,
      ...IDENTITY_MOUNTS.map(([file, destination]) => ({
        destination,
        type: "bind",
        source: `${IDENTITY}/${file}`,
        options: ["bind", destination.startsWith("/proc") ? "ro" : "rw"],
      })),
      ...(spec.files ?? []).map(({ path }, index) => ({
        destination: path,
        type: "bind",
        source: fileOf(bundle, index),
        options: ["bind", "ro"],
      })),
      ...mounts,
    ],
    linux: {
      ...(isWaiting ? { rootfsPropagation: "rslave" } : {}),
      cgroupsPath: cgroupOf(name, spec),
      namespaces: ["mount", "pid", "uts", "ipc", "cgroup", ...(spec.network === "none" ? ["network"] : [])].map(
        (type) => ({
          type,
        }),
      ),
      resources: {
        // As Docker has it: nodes are made and not opened, but those of /dev. crun adds these; it mounts the root without `nodev`.
        devices: spec.capabilities === "all" ? [{ allow: true, access: "rwm" }] : RESTRICTED_DEVICES,
        ...(spec.memoryMaxMiB === null ? {} : { memory: { limit: spec.memoryMaxMiB * 1024 ** 2 } }),
        ...(spec.pidsMax === undefined ? {} : { pids: { limit: spec.pidsMax } }),
        // All of it is killed or nothing: what multiplies would take the place of each that is killed alone.
        ...(spec.memoryMaxMiB === null && !isWaiting ? {} : { unified: { "memory.oom.group": "1" } }),
      },
      maskedPaths: [
        "/proc/acpi",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/sched_debug",
        "/sys/firmware",
      ],
      readonlyPaths: spec.capabilities === "all" ? [] : ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sysrq-trigger"],
    },
  }
}
