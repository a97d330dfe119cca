/** What the daemon will need of this machine, one check each: `doctor` runs them all. None of them changes anything but the kept verdict on KVM. */
import { constants, existsSync } from "node:fs"
import { lookup } from "node:dns/promises"
import { access, statfs } from "node:fs/promises"
import { createServer } from "node:net"
import { freemem, totalmem } from "node:os"
import { dirname } from "node:path"
import { findArtifacts } from "../../../images/artifacts.ts"
import { runCommand } from "../../command.ts"
import type { Config } from "../../config.ts"
import { daemonOf } from "../../data-directory.ts"
import { checkDatabase } from "../../db/open.ts"
import { messageOf } from "../../errors.ts"
import { complaintOf, readGivenCertificate } from "../../given-certificate.ts"
import { probeAccelerator, TCG_WARNING } from "../../vmm/host/accelerator.ts"
import { detectCgroups } from "../../vmm/process/cgroup.ts"
import { qemuVersion, tscKHz } from "../../vmm/host/host-facts.ts"
import { distribution, isNewEnough, missingPackages, neededPackages } from "./packages.ts"
import { NEEDED_DISK_BYTES } from "./setup.ts"

export interface Verdict {
  readonly state: "ok" | "warn" | "fail"
  readonly detail: string
  /** What to do; nothing where nothing is wrong. */
  readonly remedy?: string
}

interface Check {
  /** One that throws has failed, in its words. */
  run(config: Config, signal: AbortSignal): Promise<Verdict>
  /** What to do when it throws. */
  readonly remedy: string
}

const ok = (detail: string) => ({ state: "ok", detail }) as const
const fail = (detail: string, remedy: string) => ({ state: "fail", detail, remedy }) as const
const warn = (detail: string, remedy: string) => ({ state: "warn", detail, remedy }) as const

/** What to do about most of it. */
export const SET_UP = "run `torpor setup`"
const PRIVILEGES = "run it on the machine itself, or in a container that is privileged"
const MIN_MEMORY_GIB = 2
const GIB = 1024 ** 3

/** In the order in which they are shown. */
export const checks: Readonly<Record<string, Check>> = {
  root: {
    run: async () => (process.getuid?.() === 0 ? ok("runs as root") : fail("runs as another user", "run it as root")),
    remedy: "run it as root",
  },
  system: { run: async () => ok((await distribution()).name || "unknown"), remedy: SET_UP },
  packages: {
    async run(_, signal) {
      const missing = await missingPackages(neededPackages, signal)
      return missing.length === 0
        ? ok("all installed")
        : fail(`missing or too old: ${missing.map(({ name }) => name).join(", ")}`, SET_UP)
    },
    remedy: SET_UP,
  },
  QEMU: {
    async run(_, signal) {
      const version = await qemuVersion(signal)
      return isNewEnough(version) ? ok(version) : fail(`${version} is older than 8.2`, SET_UP)
    },
    remedy: SET_UP,
  },
  artefacts: {
    run: async (config) =>
      (await findArtifacts(config)) === undefined
        ? warn(`not all built in ${config.cacheDirectory}`, `${SET_UP}, or the daemon's first start will take minutes`)
        : ok(`built in ${config.cacheDirectory}`),
    remedy: SET_UP,
  },
  accelerator: {
    async run(config, signal) {
      const base = await findArtifacts(config)
      if (base === undefined) return warn("not known before the artefacts are built", SET_UP)
      const { accelerator, reason } = await probeAccelerator(
        { ...base, qemuVersion: await qemuVersion(signal), directory: config.cacheDirectory },
        signal,
      )
      return accelerator === "kvm" ? ok(`KVM: ${reason}`) : warn(`TCG: ${reason}`, TCG_WARNING)
    },
    remedy: SET_UP,
  },
  clock: {
    run: async (_, signal) => ok(`the time stamp counter runs at ${await tscKHz(signal)} kHz`),
    remedy: "use a machine whose processor tells it",
  },
  TUN: {
    run: async () =>
      existsSync("/dev/net/tun")
        ? ok("/dev/net/tun is there")
        : fail("there is no /dev/net/tun", "load it (`modprobe tun`), or give this container the device"),
    remedy: PRIVILEGES,
  },
  namespaces: {
    async run(_, signal) {
      await runCommand("unshare", ["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "true"], { signal })
      return ok("mount, pid, net, ipc and uts can be made")
    },
    remedy: PRIVILEGES,
  },
  nftables: {
    async run(_, signal) {
      await runCommand("nft", ["--check", "--file", "-"], { signal, input: SAMPLE_RULES })
      return ok("rules with NAT are accepted")
    },
    remedy: `load the module (\`modprobe nf_tables\`), or ${PRIVILEGES}`,
  },
  forwarding: {
    async run(_, signal) {
      await access("/proc/sys/net/ipv4/ip_forward", constants.W_OK)
      const rules = await runCommand("nft", ["list", "ruleset"], { signal })
      return /hook forward[^}]*policy drop/.test(rules)
        ? warn(
            "another table drops forwarded packets",
            "let it accept packets from and to interfaces named t????????-*, or guests reach nothing",
          )
        : ok("no other table drops forwarded packets")
    },
    remedy: `let /proc/sys be written to: ${PRIVILEGES}`,
  },
  cgroups: {
    async run() {
      const { kind } = await detectCgroups("doctor00")
      return kind === "none"
        ? warn(
            "no memory controller",
            "boot with cgroup v2: without, VMs are bounded by what QEMU takes, and by no kernel",
          )
        : ok(kind)
    },
    remedy: "mount the control groups at /sys/fs/cgroup",
  },
  Postgres: {
    async run({ databaseUrl }, signal) {
      if (databaseUrl === undefined)
        return existsSync("/usr/lib/postgresql")
          ? ok("a private cluster in the data directory")
          : fail("not installed", SET_UP)
      await checkDatabase(databaseUrl, signal)
      return ok("the one of DATABASE_URL answers")
    },
    remedy: "correct DATABASE_URL, or leave it out for a private Postgres",
  },
  disk: {
    async run({ dataDirectory, cacheDirectory }) {
      for (const directory of [dataDirectory, cacheDirectory]) {
        const free = await freeBytes(directory)
        if (free < NEEDED_DISK_BYTES)
          return fail(
            `${(free / GIB).toFixed(1)} GiB free for ${directory}`,
            `free at least ${NEEDED_DISK_BYTES / GIB} GiB, or set TORPOR_DATA_DIR and TORPOR_CACHE_DIR`,
          )
      }
      return ok(`${((await freeBytes(dataDirectory)) / GIB).toFixed(0)} GiB free for ${dataDirectory}`)
    },
    remedy: "set TORPOR_DATA_DIR and TORPOR_CACHE_DIR to where files can be",
  },
  memory: {
    async run() {
      const total = totalmem() / GIB
      return total >= MIN_MEMORY_GIB
        ? ok(`${total.toFixed(0)} GiB, ${(freemem() / GIB).toFixed(0)} free`)
        : fail(`${total.toFixed(1)} GiB`, `use a machine with at least ${MIN_MEMORY_GIB} GiB`)
    },
    remedy: SET_UP,
  },
  "API port": {
    run: ({ api, dataDirectory }, signal) => checkPort(api, "TORPOR_API_PORT", dataDirectory, signal),
    remedy: "set TORPOR_API_ADDRESS to an address of this machine",
  },
  "edge port": {
    run: ({ edge, dataDirectory }, signal) => checkPort(edge, "TORPOR_EDGE_PORT", dataDirectory, signal),
    remedy: "set TORPOR_EDGE_ADDRESS to an address of this machine",
  },
  certificate: {
    async run({ tls, domain }) {
      if (tls === undefined) return ok("from a CA of its own, in the data directory")
      const complaint = complaintOf(await readGivenCertificate(tls), domain, new Date())
      return complaint === undefined
        ? ok(`the one of TORPOR_TLS_CERT covers *.vm.${domain}`)
        : fail(`the one of TORPOR_TLS_CERT: ${complaint}`, `get one for *.vm.${domain} and *.lambda-url.${domain}`)
    },
    remedy: "correct TORPOR_TLS_CERT and TORPOR_TLS_KEY, or leave them out for a CA of its own",
  },
  "name resolution": {
    async run({ domain, edge }) {
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
    remedy: SET_UP,
  },
}

const SAMPLE_RULES = `table inet torpor_doctor {
  chain c { type nat hook postrouting priority srcnat; masquerade
  }
}
`

const freeBytes = async (directory: string): Promise<number> => {
  const { bavail, bsize } = await statfs(nearest(directory))
  return bavail * bsize
}

const nearest = (path: string): string => (existsSync(path) ? path : nearest(dirname(path)))

const checkPort = async (
  { address, port }: { address: string; port: number },
  variable: string,
  dataDirectory: string,
  signal: AbortSignal,
): Promise<Verdict> => {
  const server = createServer()
  const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    server.once("error", resolve).listen(port, address, () => server.close(() => resolve(undefined)))
  })
  if (error === undefined) return ok(`${address}:${port} is free`)
  if (error.code !== "EADDRINUSE") throw new Error(`${address}:${port} cannot be had: ${messageOf(error)}`)
  const pid = await daemonOf(dataDirectory, signal)
  return pid === undefined
    ? fail(`${address}:${port} is in use`, `stop what listens there, or set ${variable}`)
    : ok(`${address}:${port} is our daemon's (process ${pid})`)
}
