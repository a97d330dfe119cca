import { mkdtemp, rm, stat } from "node:fs/promises"
import { randomInt, randomUUID } from "node:crypto"
import { existsSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { describe, expect, test } from "vitest"
import { inScope } from "../src/systemd.ts"
import { processesOf } from "./db/cluster.ts"
import { eventually } from "./fixtures/eventually.ts"
import { processesNaming } from "./fixtures/processes.ts"
import { bootSystemd, hierarchies, type Systemd } from "./fixtures/systemd.ts"

const source = (path: string) => `'${new URL(`../src/${path}`, import.meta.url).href}'`

test("Without systemd a command is started as it is", () => {
  expect(inScope("torpor-x", "SIGINT", ["a", "b"], false)).toEqual(["a", "b"])
})

test("Under systemd it is started in a scope with a name of its own each time, and keeps its words", () => {
  const [first, second] = [1, 2].map(() => inScope("torpor-x", "SIGINT", ["--a", "b c"], true))
  expect(first).toEqual([
    "systemd-run",
    "--scope",
    "--quiet",
    "--collect",
    expect.stringMatching(/^--unit=torpor-x-[0-9a-f]{8}$/),
    "--property=KillSignal=SIGINT",
    "--",
    "--a",
    "b c",
  ])
  expect(second).not.toEqual(first)
})

/** A service that runs code of ours until it is stopped, as `torpor serve` would. */
const serviceOf = (code: string) => `[Service]
ExecStart=${process.execPath} --input-type=module -e ${JSON.stringify(code.replaceAll(/\n\s*/g, "; ").replaceAll("%", "%%").replaceAll("$", "$$$$"))}
`

const started = async (systemd: Systemd, marker: string) => {
  await systemd.run("systemctl", "start", "daemon")
  while (!existsSync(marker)) {
    const state = (await systemd.run("systemctl", "show", "--property=ActiveState", "daemon")).trim()
    if (!/=active/.test(state))
      throw new Error(`The service has ended: ${await systemd.run("systemctl", "status", "daemon").catch(String)}`)
    await sleep(20)
  }
}

// Nothing here is skipped where systemd is installed, running or not.
describe.each(hierarchies.map((hierarchy) => [hierarchy]))(
  "When a daemon that is a service is stopped (%s control groups)",
  (hierarchy) => {
    test("its private Postgres runs on, and the next daemon takes it over", async () => {
      const directory = await mkdtemp(join(tmpdir(), "torpor-service-"))
      const hostId = randomUUID()
      const start = `await startPrivatePostgres('${directory}', '${hostId}', new AbortController().signal)`
      await using _ = { [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) }
      await using systemd = await bootSystemd(hierarchy, {
        daemon: serviceOf(`import { writeFileSync } from 'node:fs'
        import { startPrivatePostgres } from ${source("db/private-postgres.ts")}
        ${start}
        writeFileSync('${directory}/started', '')
        setInterval(() => {}, 1000)`),
      })
      await started(systemd, join(directory, "started"))
      // What the postmaster forks has its words for a moment.
      const before = await eventually(async () => {
        const pids = await processesOf(hostId)
        expect(pids).toHaveLength(1)
        return pids
      })
      const still = (pids: number[]) => eventually(async () => expect(await processesOf(hostId)).toEqual(pids))
      await systemd.run("systemctl", "stop", "daemon")
      await still(before)
      await rm(join(directory, "started"))
      await started(systemd, join(directory, "started"))
      await still(before)
      // As at a shutdown of the machine.
      await systemd.run("systemctl", "stop", `torpor-${hostId.slice(0, 8)}-postgres-*.scope`)
      await still([])
      await expect(stat(join(directory, "postgres/postmaster.pid")), "it ended in good order").rejects.toThrow("ENOENT")
    })

    test("its virtual machines run on", async () => {
      const directory = await mkdtemp(join(tmpdir(), "torpor-service-"))
      const hostId = randomUUID()
      const seconds = `86399.${randomInt(1e9)}`
      await using _ = { [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) }
      await using systemd = await bootSystemd(hierarchy, {
        daemon: serviceOf(`import { writeFileSync } from 'node:fs'
        import { detectCgroups } from ${source("vmm/process/cgroup.ts")}
        import { spawnJailed } from ${source("vmm/process/jail.ts")}
        const groups = await detectCgroups('${hostId}')
        const cgroups = await groups.create('vm', { memoryMiB: 64, processes: 16 })
        const jail = { uid: 600000, namespace: 'slot', readOnly: [], writable: [], devices: [], cgroups }
        const { pid } = await spawnJailed(jail, ['sleep', '${seconds}'], [], new AbortController().signal)
        writeFileSync('${directory}/started', String(pid))
        setInterval(() => {}, 1000)`),
      })
      await systemd.run("ip", "netns", "add", "slot")
      await started(systemd, join(directory, "started"))
      const vms = await processesNaming(`sleep ${seconds}`)
      expect(vms.length).toBeGreaterThan(0)
      await systemd.run("systemctl", "stop", "daemon")
      expect(await processesNaming(`sleep ${seconds}`)).toEqual(vms)
    })
  },
)
