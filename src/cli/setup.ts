/** `torpor setup`: what a bare machine lacks, said and installed; then the base artefacts. Quickstart and the tests begin with it. */
import { existsSync } from "node:fs"
import { mkdir, statfs, writeFile } from "node:fs/promises"
import { dirname } from "node:path"
import { ensureArtifacts } from "../../images/artifacts.ts"
import { CommandError, runCommand } from "../command.ts"
import type { Config } from "../config.ts"
import { OperatorError } from "../errors.ts"
import { lock } from "../file-lock.ts"
import type { CommandInput } from "./commands.ts"
import { distribution, isNewEnough, missingPackages, type Distribution, type NeededPackage } from "./packages.ts"

const NEEDED_DISK_BYTES = 6 * 1024 ** 3
const BACKPORTS = "bookworm-backports"
const BACKPORTS_SOURCE = "/etc/apt/sources.list.d/torpor-backports.sources"

/** Installs what is missing; resolves with 0 when all of it is there. Run again it only looks. */
export const setup = async ({ config, print, signal }: CommandInput): Promise<number> => {
  await runSetup(config, print, signal)
  print("Set-up is complete.")
  return 0
}

/** As {@link setup}, without the last line. Throws an {@link OperatorError} with what to do. */
export const runSetup = async (config: Config, print: (line: string) => void, signal: AbortSignal): Promise<void> => {
  await refuseUnfit(config)
  const missing = await missingPackages(signal)
  if (missing.length > 0) {
    await using _ = await lock("/run/torpor-setup.lock", signal, () =>
      print("Waiting for another set-up on this machine"),
    )
    const stillMissing = await missingPackages(signal)
    if (stillMissing.length > 0) await install(stillMissing, config, print, signal)
  }
  await ensureArtifacts({ cacheDirectory: config.cacheDirectory, debian: config.debian }, print, signal)
}

/** What no package can mend. */
const refuseUnfit = async ({ cacheDirectory, dataDirectory }: Config) => {
  if (process.getuid?.() !== 0) throw new OperatorError("Torpor makes network namespaces and jails: run this as root.")
  if (!existsSync("/dev/net/tun"))
    throw new OperatorError(
      "There is no /dev/net/tun: load the module (`modprobe tun`), or give this container the device.",
    )
  for (const directory of [cacheDirectory, dataDirectory]) {
    const { bavail, bsize } = await statfs(existing(directory))
    if (bavail * bsize < NEEDED_DISK_BYTES)
      throw new OperatorError(
        `${directory} has ${((bavail * bsize) / 1024 ** 3).toFixed(1)} GiB free and ${NEEDED_DISK_BYTES / 1024 ** 3} are needed: free some, or name other directories by TORPOR_CACHE_DIR and TORPOR_DATA_DIR.`,
      )
  }
}

const existing = (path: string): string => (existsSync(path) ? path : existing(dirname(path)))

const install = async (
  missing: readonly NeededPackage[],
  { install: mayInstall }: Config,
  print: (line: string) => void,
  signal: AbortSignal,
) => {
  const system = await distribution()
  if (!existsSync("/usr/bin/apt-get"))
    throw new OperatorError(
      `${system.name || "This system"} has no apt-get: Torpor's set-up knows Debian 12 and 13 and Ubuntu 24.04. Install what they call ${missing.map(({ name }) => name).join(", ")}.`,
    )
  const backports = await needsBackports(missing, system, signal)
  const command = [
    "apt-get",
    "install",
    "-y",
    "--no-install-recommends",
    "-o",
    "DPkg::Lock::Timeout=300",
    ...(backports ? ["-t", BACKPORTS] : []),
    ...missing.map(({ name }) => name),
  ]
  const source = "deb http://deb.debian.org/debian bookworm-backports main"
  if (!mayInstall)
    throw new OperatorError(
      `These packages are missing: ${missing.map(({ name }) => name).join(", ")}. TORPOR_NO_INSTALL is set, so install them yourself:\n  ${backports ? `echo '${source}' > /etc/apt/sources.list.d/torpor-backports.list && ` : ""}apt-get update && ${command.join(" ")}`,
    )
  for (const { name, why } of missing) print(`${name.padEnd(24)} ${why}`)
  if (backports) {
    print(`Adding ${BACKPORTS}: this distribution's own QEMU is older than 8.2`)
    await writeFile(
      BACKPORTS_SOURCE,
      `Types: deb\nURIs: http://deb.debian.org/debian\nSuites: ${BACKPORTS}\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n`,
    )
  }
  if (missing.some(({ name }) => name === "postgresql")) await declineMainCluster()
  print("Installing them with apt-get")
  const env = {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    DEBIAN_FRONTEND: "noninteractive",
    LC_ALL: "C.UTF-8",
  }
  await apt(["-o", "DPkg::Lock::Timeout=300", "update"], env, signal)
  await apt(command.slice(1), env, signal)
  const left = await missingPackages(signal)
  if (left.length > 0)
    throw new OperatorError(
      `apt-get succeeded, and these are still missing or too old: ${left.map(({ name }) => name).join(", ")}.`,
    )
}

const apt = async (args: readonly string[], env: Record<string, string>, signal: AbortSignal) => {
  try {
    await runCommand("apt-get", args, { signal, env })
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    const words =
      error.output
        .trim()
        .split("\n")
        .filter((line) => line.startsWith("E:"))
        .join(" ") || error.message
    throw new OperatorError(
      /resolve|connect|fetch/i.test(error.output)
        ? `The package mirror cannot be reached (${words}): check the network and /etc/apt/sources.list.d, then try again.`
        : `apt-get failed: ${words}`,
    )
  }
}

/** Only Debian 12 is too old by itself. */
const needsBackports = async (
  missing: readonly NeededPackage[],
  { id, codename }: Distribution,
  signal: AbortSignal,
): Promise<boolean> => {
  if (!missing.some(({ name }) => name.startsWith("qemu-"))) return false
  if (id === "debian" && codename === "bookworm") return true
  const policy = await runCommand("apt-cache", ["policy", "qemu-system-x86"], { signal }).catch(() => "")
  const candidate = /Candidate: (\S+)/.exec(policy)?.[1] ?? "(none)"
  if (candidate !== "(none)" && !isNewEnough(candidate))
    throw new OperatorError(
      `This distribution offers QEMU ${candidate}, and Torpor needs 8.2 or newer: use Debian 12 or 13, or Ubuntu 24.04.`,
    )
  return false
}

/** The package would start a cluster of its own; ours needs only its programs. */
const declineMainCluster = async () => {
  const file = "/etc/postgresql-common/createcluster.conf"
  if (existsSync(file)) return
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, "create_main_cluster = false\n")
}
