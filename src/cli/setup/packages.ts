/** The Debian packages that Torpor needs on its host, and those that its tests need besides, each with the reason that set-up gives. */
import { readFile } from "node:fs/promises"
import { runCommand } from "../../command.ts"

export interface NeededPackage {
  readonly name: string
  readonly why: string
  /** The one distribution that has it; by default all do. */
  readonly onlyOn?: string
}

export const neededPackages: readonly NeededPackage[] = [
  { name: "qemu-system-x86", why: "runs the virtual machines (8.2 or newer)" },
  { name: "qemu-utils", why: "makes disk overlays" },
  { name: "postgresql", why: "remembers everything, as a private cluster" },
  { name: "mmdebstrap", why: "makes the guests' file systems" },
  { name: "debian-archive-keyring", why: "verifies the guests' packages" },
  { name: "e2fsprogs", why: "makes ext4 disks" },
  { name: "bubblewrap", why: "jails the virtual machine monitor" },
  { name: "util-linux", why: "namespaces, locks, and the dropping of rights" },
  { name: "mount", why: "bind mounts of the private cluster" },
  { name: "nftables", why: "decides what guests may reach" },
  { name: "iproute2", why: "network namespaces and TAPs" },
  { name: "gcc", why: "compiles the thaw helper" },
  { name: "libc6-dev", why: "compiles the thaw helper" },
  { name: "xz-utils", why: "unpacks kernel modules" },
  { name: "skopeo", why: "fetches base images from registries" },
  { name: "ca-certificates", why: "tells whether a registry is who it says it is" },
  { name: "libnss-myhostname", why: "resolves *.localhost" },
]

/** What only the tests and benches use. */
const testPackages: readonly NeededPackage[] = [
  { name: "runc", why: "is what the bench compares with" },
  { name: "curl", why: "asks the edge in the tests, as a client that is not ours" },
  { name: "libarchive-tools", why: "reads image layers in the tests as a guest does" },
  { name: "python3", why: "stands in for a process of the monitor in the tests" },
  {
    name: "chromium-headless-shell",
    why: "opens pages of guests in the tests, as a person's browser does",
    // Ubuntu has Chromium as a snap only: there that test is skipped.
    onlyOn: "debian",
  },
]

/** Those that the tests need on this distribution: all of the daemon's, and their own. */
export const packagesForTests = ({ id }: Distribution): readonly NeededPackage[] => [
  ...neededPackages,
  ...testPackages.filter(({ onlyOn = id }) => onlyOn === id),
]

/** The oldest QEMU whose guests' memory can be mapped privately from a read-only file. */
const OLDEST_QEMU = [8, 2] as const

/** Whether a Debian version of QEMU is new enough; epochs are looked past. */
export const isNewEnough = (version: string): boolean => {
  const [, major, minor] = /^(?:\d+:)?(\d+)\.(\d+)/.exec(version) ?? []
  return Number(major) > OLDEST_QEMU[0] || (Number(major) === OLDEST_QEMU[0] && Number(minor) >= OLDEST_QEMU[1])
}

/** Those of some packages that are not installed, or are too old. */
export const missingPackages = async (
  packages: readonly NeededPackage[],
  signal: AbortSignal,
): Promise<NeededPackage[]> => {
  const names = packages.map(({ name }) => name)
  // It fails when it doesn't know one of them; what it knows it says all the same.
  const output = await runCommand(
    "sh",
    ["-c", `dpkg-query -W -f '\${Package} \${db:Status-Abbrev} \${Version}\\n' "$@" 2>/dev/null || :`, "sh", ...names],
    { signal },
  )
  const installed = new Map(
    output
      .split("\n")
      .map((line) => line.split(/\s+/))
      .filter(([, status]) => status === "ii")
      .map(([name = "", , version = ""]) => [name, version]),
  )
  return packages.filter(({ name }) => {
    const version = installed.get(name)
    return version === undefined || (name.startsWith("qemu-") && !isNewEnough(version))
  })
}

export interface Distribution {
  readonly id: string
  readonly codename: string
  readonly name: string
}

/** What /etc/os-release says. */
export const distribution = async (): Promise<Distribution> => {
  const text = await readFile("/etc/os-release", "utf8").catch(() => "")
  const value = (key: string) => new RegExp(`^${key}="?([^"\\n]*)"?$`, "m").exec(text)?.[1] ?? ""
  return { id: value("ID"), codename: value("VERSION_CODENAME"), name: value("PRETTY_NAME") }
}
