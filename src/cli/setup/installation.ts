/** What has to be done for packages to be installed, as data: run by set-up, or printed for an operator who does it himself. */
import { existsSync } from "node:fs"
import { mkdir, writeFile } from "node:fs/promises"
import { dirname } from "node:path"
import { CommandError, runCommand } from "../../command.ts"
import { OperatorError } from "../../errors.ts"
import { isNewEnough, type Distribution, type NeededPackage } from "./packages.ts"

export interface Installation {
  readonly files: readonly { readonly path: string; readonly text: string; readonly why: string }[]
  /** apt-get's arguments, one call after the other; the first one updates its lists. */
  readonly calls: readonly (readonly string[])[]
}

const APT = "/usr/bin/apt-get"
const BACKPORTS = "bookworm-backports"
const BACKPORTS_FILE = "/etc/apt/sources.list.d/torpor-backports.list"
const CLUSTER_FILE = "/etc/postgresql-common/createcluster.conf"
/** Somebody else may be installing something. */
const PATIENCE = ["-o", "DPkg::Lock::Timeout=300"]
const INSTALL = ["install", "-y", "--no-install-recommends", ...PATIENCE]
const ENVIRONMENT = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  DEBIAN_FRONTEND: "noninteractive",
  LC_ALL: "C.UTF-8",
}

/** Plans how the packages get here; throws an {@link OperatorError} where they cannot. */
export const planInstallation = async (
  missing: readonly NeededPackage[],
  system: Distribution,
  signal: AbortSignal,
): Promise<Installation> => {
  const names = missing.map(({ name }) => name)
  if (!existsSync(APT))
    throw new OperatorError(
      `${system.name || "This system"} has no apt-get: Torpor's set-up knows Debian 12 and 13 and Ubuntu 24.04. Install what they call ${names.join(", ")}.`,
    )
  const isQemu = (name: string) => name.startsWith("qemu-")
  const [qemu, others] = [names.filter((name) => isQemu(name)), names.filter((name) => !isQemu(name))]
  // Only Debian 12 is too old by itself, and only its QEMU: nothing else of the machine is moved to backports.
  const fromBackports = qemu.length > 0 && system.id === "debian" && system.codename === "bookworm"
  if (qemu.length > 0 && !fromBackports) await refuseOldQemu(signal)
  const source = fromBackports ? await backportsSource(signal) : undefined
  return {
    files: [
      // The package would start a cluster of its own; ours needs only its programs.
      ...(names.includes("postgresql") && !existsSync(CLUSTER_FILE)
        ? [{ path: CLUSTER_FILE, text: "create_main_cluster = false", why: "Torpor makes its own Postgres cluster" }]
        : []),
      ...(source === undefined
        ? []
        : [{ path: BACKPORTS_FILE, text: source, why: "Debian 12's own QEMU is older than 8.2" }]),
    ],
    calls: [
      ["update", "--error-on=any", ...PATIENCE],
      ...(others.length > 0 ? [[...INSTALL, ...others]] : []),
      ...(qemu.length > 0 ? [[...INSTALL, ...(fromBackports ? ["-t", BACKPORTS] : []), ...qemu]] : []),
    ],
  }
}

/** The plan as lines for a shell. */
export const toShell = ({ files, calls }: Installation): string =>
  [
    ...files.map(({ path, text }) => `mkdir -p ${dirname(path)} && echo '${text}' > ${path}`),
    ...calls.map((args) => `apt-get ${args.join(" ")}`),
  ].join(" && \\\n  ")

/** Does it; throws an {@link OperatorError} in apt's own words when it fails. */
export const carryOut = async (
  { files, calls }: Installation,
  print: (line: string) => void,
  signal: AbortSignal,
): Promise<void> => {
  for (const { path, text, why } of files) {
    print(`Writing ${path}: ${why}`)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, `${text}\n`)
  }
  print("Installing them with apt-get")
  let unreached: CommandError | undefined
  for (const args of calls)
    await runCommand("apt-get", args, { signal, env: ENVIRONMENT }).catch((error: unknown) => {
      if (!(error instanceof CommandError)) throw error
      // One source of several may be away, and not be needed.
      if (args[0] === "update") unreached = error
      else throw refusal(error, unreached)
    })
}

const refusal = (error: CommandError, unreached: CommandError | undefined) => {
  const words = wordsOf(unreached ?? error)
  return new OperatorError(
    unreached !== undefined || /resolve|connect|fetch/i.test(words)
      ? `The package mirror cannot be reached (${words}): check the network and /etc/apt/sources.list.d, then try again.`
      : `apt-get failed: ${words}`,
  )
}

const wordsOf = (error: CommandError) =>
  error.output
    .split("\n")
    .filter((line) => line.startsWith("E:"))
    .join(" ")
    .trim() || error.message

/** The line that adds backports from the mirror that the machine has already; `undefined` when it has them too. */
const backportsSource = async (signal: AbortSignal): Promise<string | undefined> => {
  // Without the option it knows only what has been fetched, and on a fresh machine nothing has.
  const format = "$(RELEASE) $(REPO_URI)"
  const targets = await runCommand("apt-get", ["indextargets", "--no-release-info", "--format", format], { signal })
  const mirrors = new Map(targets.split("\n").map((line) => line.split(" ") as [string, string]))
  if (mirrors.has(BACKPORTS)) return undefined
  const mirror = mirrors.get("bookworm") ?? "http://deb.debian.org/debian"
  return `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror} ${BACKPORTS} main`
}

const refuseOldQemu = async (signal: AbortSignal) => {
  const policy = await runCommand("apt-cache", ["policy", "qemu-system-x86"], { signal })
  const candidate = /Candidate: (\S+)/.exec(policy)?.[1] ?? "(none)"
  if (candidate !== "(none)" && !isNewEnough(candidate))
    throw new OperatorError(
      `This distribution offers QEMU ${candidate}, and Torpor needs 8.2 or newer: use Debian 12 or 13, or Ubuntu 24.04.`,
    )
}
