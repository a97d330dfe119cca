/** `torpor doctor`: everything that the daemon will need, and for each failure what to do. */
import { existsSync } from "node:fs"
import { lookup } from "node:dns/promises"
import { statfs } from "node:fs/promises"
import { createServer } from "node:net"
import { freemem, totalmem } from "node:os"
import { dirname } from "node:path"
import { ensureArtifacts } from "../../images/artifacts.ts"
import { runCommand } from "../command.ts"
import type { Config } from "../config.ts"
import { daemonOf } from "../data-directory.ts"
import { messageOf } from "../errors.ts"
import { probeAccelerator, TCG_WARNING } from "../vmm/accelerator.ts"
import { detectCgroups } from "../vmm/cgroup.ts"
import { qemuVersion } from "../vmm/host-facts.ts"
import type { CommandInput } from "./commands.ts"
import { distribution, isNewEnough, missingPackages } from "./packages.ts"

export interface Finding {
  readonly name: string
  readonly state: "ok" | "warn" | "fail"
  readonly detail: string
  /** What to do; nothing where nothing is wrong. */
  readonly remedy?: string
}

type Check = (config: Config, signal: AbortSignal) => Promise<Omit<Finding, "name">>

const ok = (detail: string) => ({ state: "ok", detail }) as const
const fail = (detail: string, remedy: string) => ({ state: "fail", detail, remedy }) as const
const warn = (detail: string, remedy: string) => ({ state: "warn", detail, remedy }) as const

/** The checks, in the order in which they are shown. */
const checks: Readonly<Record<string, Check>> = {
  root: async () => (process.getuid?.() === 0 ? ok("runs as root") : fail("runs as another user", "run it as root")),
  system: async () => ok((await distribution()).name),
  packages: async (_, signal) => {
    const missing = await missingPackages(signal)
    return missing.length === 0
      ? ok("all installed")
      : fail(`missing: ${missing.map(({ name }) => name).join(", ")}`, "run `torpor setup`")
  },
  QEMU: async (_, signal) => {
    const version = await qemuVersion(signal)
    return isNewEnough(version) ? ok(version) : fail(`${version} is older than 8.2`, "run `torpor setup`")
  },
  accelerator: async (config, signal) => {
    const base = await ensureArtifacts(
      { cacheDirectory: config.cacheDirectory, debian: config.debian },
      () => {},
      signal,
    )
    const verdict = await probeAccelerator(
      { ...base, qemuVersion: await qemuVersion(signal), directory: config.cacheDirectory },
      signal,
    )
    return verdict.accelerator === "kvm" ? ok(`KVM: ${verdict.reason}`) : warn(`TCG: ${verdict.reason}`, TCG_WARNING)
  },
  TUN: async () =>
    existsSync("/dev/net/tun")
      ? ok("/dev/net/tun is there")
      : fail("there is no /dev/net/tun", "load it: `modprobe tun`"),
  namespaces: async (_, signal) => {
    await runCommand("unshare", ["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "true"], { signal })
    return ok("mount, pid, net, ipc and uts can be made")
  },
  nftables: async (_, signal) => {
    await runCommand("nft", ["--check", "--file", "-"], {
      signal,
      input: "table inet torpor_doctor { chain c { type nat hook postrouting priority srcnat; masquerade\n}\n}\n",
    })
    return ok("rules with NAT are accepted")
  },
  forwarding: async (_, signal) => {
    const rules = await runCommand("nft", ["list", "ruleset"], { signal })
    const drops = /hook forward[^}]*policy drop/.test(rules)
    return drops
      ? warn(
          "another table drops forwarded packets",
          "let it accept packets from and to interfaces named t????????-*, or guests reach nothing",
        )
      : ok("no other table drops forwarded packets")
  },
  cgroups: async () => {
    const { kind } = await detectCgroups("doctor00")
    return kind === "none"
      ? warn("no memory controller", "VMs are bounded by rlimits only; boot with cgroup v2")
      : ok(kind)
  },
  Postgres: async (config) => {
    if (config.databaseUrl !== undefined) return ok("an outside one, by DATABASE_URL")
    return existsSync("/usr/lib/postgresql")
      ? ok("a private cluster in the data directory")
      : fail("not installed", "run `torpor setup`")
  },
  disk: async ({ dataDirectory }) => {
    const { bavail, bsize } = await statfs(nearest(dataDirectory))
    const free = (bavail * bsize) / 1024 ** 3
    return free >= 6
      ? ok(`${free.toFixed(0)} GiB free for ${dataDirectory}`)
      : fail(`${free.toFixed(1)} GiB free`, "free at least 6 GiB, or set TORPOR_DATA_DIR")
  },
  memory: async () => {
    const total = totalmem() / 1024 ** 3
    return total >= 2
      ? ok(`${total.toFixed(0)} GiB, ${(freemem() / 1024 ** 3).toFixed(0)} free`)
      : fail(`${total.toFixed(1)} GiB`, "a host needs at least 2 GiB")
  },
  "API port": ({ api, dataDirectory }, signal) => checkPort(api, "TORPOR_API_PORT", dataDirectory, signal),
  "edge port": ({ edge, dataDirectory }, signal) => checkPort(edge, "TORPOR_EDGE_PORT", dataDirectory, signal),
  "name resolution": async ({ domain, edge }) => {
    const name = `00000000-0000-4000-8000-000000000000.vm.${domain}`
    const found = await lookup(name, { all: true }).catch(() => [])
    return found.length > 0
      ? ok(`*.vm.${domain} is ${found.map(({ address }) => address).join(", ")}`)
      : fail(
          `${name} cannot be resolved`,
          domain === "localhost"
            ? "install libnss-myhostname: `torpor setup`"
            : `let *.vm.${domain} point to ${edge.address}`,
        )
  },
}

const nearest = (path: string): string => (existsSync(path) ? path : nearest(dirname(path)))

const checkPort = async (
  { address, port }: { address: string; port: number },
  variable: string,
  dataDirectory: string,
  signal: AbortSignal,
): Promise<Omit<Finding, "name">> => {
  const server = createServer()
  const free = await new Promise<boolean>((resolve) => {
    server.once("error", () => resolve(false)).listen(port, address, () => server.close(() => resolve(true)))
  })
  if (free) return ok(`${address}:${port} is free`)
  const pid = await daemonOf(dataDirectory, signal)
  return pid === undefined
    ? fail(`${address}:${port} is in use`, `stop what listens there, or set ${variable}`)
    : ok(`${address}:${port} is our daemon's (process ${pid})`)
}

/** Runs every check; one that throws is a failure with its words. */
export const examine = async (config: Config, signal: AbortSignal): Promise<Finding[]> => {
  const findings: Finding[] = []
  for (const [name, check] of Object.entries(checks))
    findings.push({
      name,
      ...(await check(config, signal).catch((error: unknown) => fail(messageOf(error), "see the message"))),
    })
  return findings
}

/** `torpor doctor [--json]`: 1 when something fails. */
export const doctor = async ({ config, options, print, signal }: CommandInput): Promise<number> => {
  const findings = await examine(config, signal)
  if (options.has("json")) print(JSON.stringify(findings))
  else for (const line of toLines(findings)) print(line)
  return findings.some(({ state }) => state === "fail") ? 1 : 0
}

const marks = { ok: "ok  ", warn: "WARN", fail: "FAIL" } as const

/** The findings as people read them. */
export const toLines = (findings: readonly Finding[]): string[] =>
  findings.flatMap(({ name, state, detail, remedy }) => [
    `${marks[state]} ${name.padEnd(16)} ${detail}`,
    ...(remedy === undefined ? [] : [`${" ".repeat(22)}→ ${remedy}`]),
  ])
