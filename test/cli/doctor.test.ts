import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { createServer, type AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { ensureCertificates } from "../../proxy/certificates.ts"
import { checks, type Verdict } from "../../src/cli/setup/checks.ts"
import { freePort } from "../fixtures/free-port.ts"
import { makeScratchRoot, type ScratchRoot } from "./scratch-root.ts"
import { PLAIN, runToEnd, torpor, type Ended } from "./torpor.ts"

type Findings = Record<string, Verdict>
let root: ScratchRoot
let directory: string

beforeAll(async () => {
  root = await makeScratchRoot()
  directory = await mkdtemp(join(tmpdir(), "torpor-doctor-"))
})
afterAll(async () => {
  await root[Symbol.asyncDispose]()
  await rm(directory, { recursive: true })
})

const read = ({ stdout }: Ended): Findings =>
  Object.fromEntries(
    (JSON.parse(stdout) as ({ name: string } & Verdict)[]).map(({ name, ...verdict }) => [name, verdict]),
  )
const env = () => ({ ...PLAIN, TORPOR_DATA_DIR: join(directory, "data"), TORPOR_API_PORT: "0", TORPOR_EDGE_PORT: "0" })

test("On a machine that is set up nothing fails, for people and for programs alike", async () => {
  const [people, programs] = [
    await runToEnd(torpor("doctor"), env()),
    await runToEnd(torpor("doctor", "--json"), env()),
  ]
  expect(people).toMatchObject({ code: 0, stderr: "" })
  expect(programs).toMatchObject({ code: 0, stderr: "" })
  const findings = read(programs)
  expect(Object.keys(findings)).toEqual(Object.keys(checks))
  const lines = people.stdout.split("\n")
  for (const [name, { state, remedy }] of Object.entries(findings)) {
    expect(state, name).not.toBe("fail")
    expect(
      lines.some((line) => line.startsWith(`${state === "ok" ? "ok  " : "WARN"} ${name} `)),
      name,
    ).toBe(true)
    if (state === "ok") expect(remedy, name).toBeUndefined()
    else expect(lines, name).toContain(`${" ".repeat(22)}→ ${remedy}`)
  }
})

describe("On a machine that lacks nearly everything", () => {
  // In an overlay and namespaces of its own, so that it is only there that it lacks it.
  const BREAK = `
rm -rf /usr/bin/qemu-system-x86_64 /usr/bin/dmesg /usr/lib/postgresql
for name in mmdebstrap runc; do sed -i "/^Package: $name$/,/^$/d" /var/lib/dpkg/status; done
sed -i 's/^hosts:.*/hosts: files/' /etc/nsswitch.conf
printf 'MemTotal: 1048576 kB\\nMemFree: 1024 kB\\nMemAvailable: 1024 kB\\n' > /meminfo
mount --bind /meminfo /proc/meminfo
: > /cpuinfo
mount --bind /cpuinfo /proc/cpuinfo
mount -t tmpfs tmpfs /dev/net
mount -t tmpfs tmpfs /sys/fs/cgroup
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mkdir /small
mount -t tmpfs -o size=1g tmpfs /small
ip link set lo up
mkfifo /ready
"$1" -e 'require("net").createServer().listen(7070, "127.0.0.1", () => require("fs").writeFileSync("/ready", ""))' &
cat /ready
"$@"
`
  const broken = { TORPOR_DATA_DIR: "/small/data", TORPOR_CACHE_DIR: "/nowhere", TORPOR_EDGE_ADDRESS: "192.0.2.1" }
  let ended: Ended
  let findings: Findings

  beforeAll(async () => {
    ended = await root.run(BREAK, torpor("doctor", "--json"), { ...PLAIN, ...broken })
    findings = read(ended)
  })

  test("it ends with 1, and still says everything", () => {
    expect(ended).toMatchObject({ code: 1, stderr: "" })
    expect(Object.keys(findings)).toEqual(Object.keys(checks))
  })

  test.each([
    ["packages", "fail", /^missing or too old: mmdebstrap$/, /torpor setup/],
    ["QEMU", "fail", /^qemu-system-x86_64 is not installed/, /torpor setup/],
    ["artefacts", "warn", /^not all built in \/nowhere$/, /torpor setup/],
    ["accelerator", "warn", /^not known before/, /torpor setup/],
    ["clock", "fail", /time stamp counter/, /processor/],
    ["TUN", "fail", /^there is no \/dev\/net\/tun$/, /modprobe tun/],
    ["forwarding", "fail", /EROFS/, /let \/proc\/sys be written to/],
    ["cgroups", "warn", /^no memory controller$/, /cgroup v2/],
    ["Postgres", "fail", /^not installed$/, /torpor setup/],
    ["disk", "fail", /^1\.0 GiB free for \/small\/data$/, /free at least 6 GiB/],
    ["memory", "fail", /^1\.0 GiB$/, /at least 2 GiB/],
    ["API port", "fail", /^127\.0\.0\.1:7070 is in use$/, /stop what listens there, or set TORPOR_API_PORT/],
    ["edge port", "fail", /^192\.0\.2\.1:7443 cannot be had: .*EADDRNOTAVAIL/, /set TORPOR_EDGE_ADDRESS/],
    ["name resolution", "fail", /^0{8}-.*\.vm\.localhost cannot be resolved$/, /libnss-myhostname/],
  ] as const)("%s: %s, and what to do", (name, state, detail, remedy) => {
    expect(findings[name]).toEqual({
      state,
      detail: expect.stringMatching(detail),
      remedy: expect.stringMatching(remedy),
    })
  })
})

test("Somebody who is not root hears what only root can", async () => {
  const somebody = ["--reuid=65534", "--regid=65534", "--clear-groups"]
  const reader = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
  const ended = await runToEnd(["setpriv", ...somebody, ...reader, ...torpor("doctor", "--json")], env())
  expect(ended).toMatchObject({ code: 1, stderr: "" })
  const findings = read(ended)
  expect(findings["root"]).toEqual({ state: "fail", detail: "runs as another user", remedy: "run it as root" })
  for (const name of ["namespaces", "nftables", "forwarding"])
    expect(findings[name], name).toEqual({
      state: "fail",
      detail: expect.stringMatching(/not permitted|EACCES/i),
      remedy: expect.stringContaining("privileged"),
    })
})

test("Without nft, the programs that need it are missing and not the kernel's part", async () => {
  const findings = read(await root.run('rm /usr/sbin/nft\n"$@"', torpor("doctor", "--json"), env()))
  expect(findings["nftables"]).toEqual({ state: "fail", detail: "nft is not installed", remedy: "run `torpor setup`" })
})

test("A table of somebody else's that drops what guests send is warned of", async () => {
  const rules = "table ip other {\n chain c {\n type filter hook forward priority 0; policy drop;\n }\n }"
  const ended = await root.run(`echo '${rules}' | nft -f -\n"$@"`, torpor("doctor", "--json"), env())
  expect(read(ended)["forwarding"]).toEqual({
    state: "warn",
    detail: "another table drops forwarded packets",
    remedy: expect.stringContaining("t????????-*"),
  })
})

test("A database outside that doesn't answer fails in the words of who tried", async () => {
  const ended = await runToEnd(torpor("doctor", "--json"), {
    ...env(),
    DATABASE_URL: "postgres://a:hunter2@127.0.0.1:9/b",
  })
  expect(ended.code).toBe(1)
  expect(ended.stdout).not.toContain("hunter2")
  expect(read(ended)["Postgres"]).toEqual({
    state: "fail",
    detail: expect.stringMatching(/^The database of DATABASE_URL cannot be used: .*ECONNREFUSED/),
    remedy: "correct DATABASE_URL, or leave it out for a private Postgres",
  })
})

test("A certificate that cannot be read, or is for another domain, fails", async () => {
  const files = { TORPOR_TLS_CERT: join(directory, "leaf.pem"), TORPOR_TLS_KEY: join(directory, "leaf.key") }
  await ensureCertificates(directory, "example.com")
  const gone = { ...env(), ...files, TORPOR_TLS_CERT: join(directory, "gone.pem") }
  const unread = read(await runToEnd(torpor("doctor", "--json"), gone))
  expect(unread["certificate"]).toMatchObject({
    state: "fail",
    detail: expect.stringMatching(/^The file of TORPOR_TLS_CERT cannot be read/),
    remedy: expect.stringContaining("leave them out"),
  })
  const foreign = read(await runToEnd(torpor("doctor", "--json"), { ...env(), ...files }))
  expect(foreign["certificate"]).toMatchObject({
    state: "fail",
    detail: "the one of TORPOR_TLS_CERT: it does not cover *.vm.localhost",
  })
})

test("A domain of one's own that leads nowhere is told where it should lead", async () => {
  const ended = await root.run('"$@"', torpor("doctor", "--json"), { ...env(), TORPOR_DOMAIN: "vms.invalid" })
  expect(read(ended)["name resolution"]).toMatchObject({
    state: "fail",
    remedy: "let *.vm.vms.invalid point to 127.0.0.1",
  })
})

test("A port that our own running daemon has is no failure; one that a stranger has is, also beside a pid file that is left", async () => {
  const stranger = createServer().listen(0, "127.0.0.1")
  await once(stranger, "listening")
  const MODULE = new URL("../../src/data-directory.ts", import.meta.url).href
  const code = `
    import { createServer } from "node:net"
    import { openDataDirectory } from ${JSON.stringify(MODULE)}
    await openDataDirectory(${JSON.stringify(env().TORPOR_DATA_DIR)}, undefined, new AbortController().signal)
    const server = createServer().listen(${await freePort()}, "127.0.0.1", () => process.stdout.write(String(server.address().port)))`
  const daemon = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "inherit"] })
  const [said] = (await once(daemon.stdout, "data")) as [Buffer]
  const ports = {
    ...env(),
    TORPOR_API_PORT: said.toString(),
    TORPOR_EDGE_PORT: String((stranger.address() as AddressInfo).port),
  }
  try {
    const running = read(await runToEnd(torpor("doctor", "--json"), ports))
    expect(running["API port"]).toEqual({
      state: "ok",
      detail: `127.0.0.1:${said.toString()} is our daemon's (process ${daemon.pid})`,
    })
  } finally {
    daemon.kill("SIGKILL")
    await once(daemon, "exit")
  }
  const killed = read(await runToEnd(torpor("doctor", "--json"), ports))
  expect(killed["API port"]).toMatchObject({ state: "ok", detail: expect.stringContaining("is free") })
  expect(killed["edge port"]).toMatchObject({ state: "fail", detail: expect.stringContaining("is in use") })
  stranger.close()
})
