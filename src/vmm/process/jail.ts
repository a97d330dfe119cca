/**
 * Where a VMM process runs: under its slot's own uid, without capabilities or new privileges, in its own network, mount, pid, ipc and
 * uts namespaces, seeing the files it needs and no others, in a session of its own so that it outlives the daemon.
 *
 * One chain of execs: sh (cgroup, rlimits, OOM score) → nice → nsenter (the slot's network) → bwrap (namespaces, files) → setpriv
 * (uid, capabilities) → the program. bwrap's monitor stays outside and ends with it.
 */
import { spawn, type ChildProcess } from "node:child_process"
import type { Server } from "node:net"
import { once } from "node:events"
import type { Readable } from "node:stream"
import { asUnprivileged } from "../../unprivileged.ts"
import { wordsOf } from "../../words.ts"
import { messageOf } from "../../errors.ts"

export interface Jail {
  readonly uid: number
  /** A network namespace's name under /run/netns. */
  readonly namespace: string
  readonly readOnly: readonly string[]
  /** Directories that the program writes to; the caller has given them to `uid`. */
  readonly writable: readonly string[]
  /** Device nodes: from where on this host, to where the program looks. */
  readonly devices: readonly (readonly [from: string, to: string])[]
  /** Files to which the process writes itself to enter its control groups. */
  readonly cgroups: readonly string[]
  /** Of the program, beside the PATH and the locale. */
  readonly environment?: Readonly<Record<string, string>>
}

export interface Jailed {
  /** The program's own pid, as this host counts. */
  readonly pid: number
  /** Resolves when the program has ended and its monitor too. */
  readonly ended: Promise<{ code: number | null; signal: string | null }>
  /** What it last said on stderr, bounded, on one line and fit for a reason. */
  readonly words: () => string
}

/** Below the daemon's 0. */
const NICENESS = "5"
const KEPT_CHARACTERS = 8192

const ENTER = `for group in $1; do echo 0 > "$group" || exit 1; done
shift
echo 500 > /proc/self/oom_score_adj
ulimit -c 0
exec "$@"`

/** The file descriptors from here on are `servers`, in their order. */
export const FIRST_FD = 4

/** Every directory above the paths, outermost first. */
const ancestors = (paths: readonly string[]): string[] => {
  const found = new Set<string>()
  for (const path of paths)
    for (let end = path.indexOf("/", 1); end !== -1; end = path.indexOf("/", end + 1)) found.add(path.slice(0, end))
  return [...found]
}

const jailArguments = (jail: Jail): string[] => [
  "nice",
  `-n${NICENESS}`,
  "nsenter",
  `--net=/run/netns/${jail.namespace}`,
  "bwrap",
  "--unshare-pid",
  "--unshare-ipc",
  "--unshare-uts",
  "--as-pid-1",
  "--info-fd",
  "3",
  "--ro-bind",
  "/usr",
  "/usr",
  ...["bin", "sbin", "lib", "lib64"].flatMap((folder) => ["--symlink", `usr/${folder}`, `/${folder}`]),
  "--ro-bind-try",
  "/etc/ld.so.cache",
  "/etc/ld.so.cache",
  // bwrap makes missing parents for root alone, and the program is not root any more.
  ...ancestors([...jail.devices.map(([, to]) => to), ...jail.readOnly, ...jail.writable]).flatMap((path) => [
    "--perms",
    "0755",
    "--dir",
    path,
  ]),
  ...jail.devices.flatMap(([from, to]) => ["--dev-bind", from, to]),
  ...jail.readOnly.flatMap((path) => ["--ro-bind", path, path]),
  ...jail.writable.flatMap((path) => ["--bind", path, path]),
  "--chdir",
  "/",
  "--",
  ...asUnprivileged(jail.uid),
]

/** Starts a program in a jail, with listening sockets as its file descriptors from {@link FIRST_FD} on. Resolves when it has a pid. */
export const spawnJailed = async (
  jail: Jail,
  program: readonly string[],
  servers: readonly Server[],
  signal: AbortSignal,
): Promise<Jailed> => {
  signal.throwIfAborted()
  const child = spawn("sh", ["-c", ENTER, "sh", jail.cgroups.join(" "), ...jailArguments(jail), ...program], {
    detached: true,
    env: { ...jail.environment, PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" },
    stdio: ["ignore", "ignore", "pipe", "pipe", ...servers.map(descriptorOf)],
  })
  let said = ""
  const words = () =>
    wordsOf(
      said
        .trim()
        .split(/\s*\n\s*/)
        .join("; ")
        .slice(-KEPT_CHARACTERS),
      KEPT_CHARACTERS,
    )
  const stderr = child.stderr as Readable
  stderr.setEncoding("utf8").on("data", (text: string) => (said = (said + text).slice(-KEPT_CHARACTERS)))
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once("close", (code, name) => resolve({ code, signal: name }))
    child.once("error", (error) => {
      said += messageOf(error)
      resolve({ code: null, signal: null })
    })
  })
  const pid = await pidOf(child, ended, words)
  return { pid, ended, words }
}

/** Node passes sockets to a child, but no listening ones; their descriptor is only on the handle. */
const descriptorOf = (server: Server): number => {
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle
  if (!Number.isInteger(fd) || fd < 0) throw new Error("A listening socket has no descriptor")
  return fd
}

/** bwrap says as JSON which pid its child has on this host. */
const pidOf = async (child: ChildProcess, ended: Promise<unknown>, words: () => string): Promise<number> => {
  const info = child.stdio[3] as Readable
  let text = ""
  info.setEncoding("utf8").on("data", (part: string) => (text += part))
  await Promise.race([once(info, "end"), ended])
  info.destroy()
  const pid = /"child-pid": (\d+)/.exec(text)?.[1]
  if (pid === undefined) {
    await ended
    throw new Error(`The VMM process could not be started: ${words() || "no reason given"}`)
  }
  return Number(pid)
}
