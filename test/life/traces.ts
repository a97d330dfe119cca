/** All that a daemon has on this machine, to be compared before and after something that is none of its business. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs"
import { join } from "node:path"
import { ListMicrovmsCommand } from "@aws-sdk/client-lambda-microvms"
import { runCommand } from "../../src/command.ts"
import { hostTable } from "../../src/net/policy.ts"
import { processesOf, type TestDaemon } from "../fixtures/daemon.ts"

const SLOTS = "/run/torpor/slots"

export const slotsOf = (hostId: string): number[] =>
  readdirSync(SLOTS)
    .filter((name) => {
      try {
        return readlinkSync(join(SLOTS, name)) === hostId
      } catch {
        return false
      }
    })
    .map(Number)
    .toSorted((one, other) => one - other)

export const namespacesOf = (hostId: string): string[] =>
  readdirSync("/run/netns")
    .filter((name) => name.startsWith(`torpor-${hostId.slice(0, 8)}-`))
    .toSorted()

/** Its processes by pid and start time, namespaces, links, rules, claims, database, and what its API says of its VMs. */
export const tracesOf = async ({ hostId, directory, client }: TestDaemon) => {
  const mark = hostId.slice(0, 8)
  const { items = [] } = await client.send(new ListMicrovmsCommand({}))
  return {
    daemon: startOf(Number(readFileSync(join(directory, "daemon.pid"), "utf8"))),
    postgres: startOf(Number(readFileSync(join(directory, "postgres/postmaster.pid"), "utf8").split("\n")[0])),
    processes: processesOf(mark).map(startOf),
    namespaces: namespacesOf(hostId),
    links: readdirSync("/sys/class/net").filter((name) => name.startsWith(`t${mark}-`)),
    rules: await runCommand("nft", ["--stateless", "list", "table", "inet", hostTable(hostId)], {
      signal: AbortSignal.timeout(60_000),
    }),
    slots: slotsOf(hostId),
    run: readdirSync(join("/run/torpor/vms", mark)).toSorted(),
    microvms: items.map(({ microvmId, state }) => `${microvmId} ${state}`).toSorted(),
  }
}

const startOf = (pid: number): string => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  return `${pid} since ${stat.slice(stat.lastIndexOf(")")).split(" ")[20]}`
}
