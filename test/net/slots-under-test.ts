/** Slots of a host id of their own on this machine, and a look at what there is of it. */
import { randomUUID } from "node:crypto"
import { readdir, readlink } from "node:fs/promises"
import { join } from "node:path"
import { runCommand } from "../../src/command.ts"
import { createLog } from "../../src/log.ts"
import type { EgressPolicy } from "../../src/net/policy.ts"
import { openSlots, type Slots, type SlotsOptions } from "../../src/net/slots.ts"
import { endWhenGone } from "../fixtures/when-gone.ts"

export const CLAIMS = "/run/torpor/slots"
export const never = new AbortController().signal
export const policy: EgressPolicy = { allow: [], newConnectionsPerSecond: 200, maxConnections: 4096 }

export const run = (command: string, ...args: string[]) => runCommand(command, args, { signal: never })

/** The slots that there are of a host id, by what of each of them there is. */
export interface Existing {
  readonly namespaces: number[]
  readonly links: number[]
  readonly claims: number[]
  readonly hasRules: boolean
}

export const nothing: Existing = { namespaces: [], links: [], claims: [], hasRules: false }

const existingOf = async (hostId: string): Promise<Existing> => {
  const mark = hostId.slice(0, 8)
  const indexesOf = async (directory: string, prefix: string) =>
    (await readdir(directory).catch(() => []))
      .filter((name) => name.startsWith(prefix))
      .map((name) => Number(name.slice(prefix.length)))
      .toSorted((a, b) => a - b)
  const claimed = await indexesOf(CLAIMS, "")
  const owners = await Promise.all(claimed.map((index) => readlink(join(CLAIMS, String(index))).catch(() => "")))
  return {
    namespaces: await indexesOf("/run/netns", `torpor-${mark}-`),
    links: await indexesOf("/sys/class/net", `t${mark}-`),
    claims: claimed.filter((_, at) => owners[at] === hostId),
    hasRules: (await run("nft", "list", "tables")).includes(`inet torpor_${mark}\n`),
  }
}

/** A new host id. What it opened is closed in the end; what there is of it then is removed, and is an error. */
export const openHost = () => {
  const hostId = randomUUID()
  const isOver = endWhenGone(hostId)
  const opened: Slots[] = []
  /** By default with none ready. */
  const open = async (options: Partial<SlotsOptions> = {}): Promise<Slots> => {
    const slots = await openSlots(
      {
        hostId,
        ready: 0,
        uidBase: 600_000,
        addressRange: "100.127.0.0/16",
        policy,
        nameServers: [],
        log: createLog("error"),
        ...options,
      },
      never,
    )
    opened.push(slots)
    return slots
  }
  return {
    hostId,
    open,
    existing: () => existingOf(hostId),
    async [Symbol.asyncDispose]() {
      const left = await existingOf(hostId)
      await Promise.all(opened.map((slots) => slots.close()))
      isOver()
      if (JSON.stringify(left) === JSON.stringify(nothing)) return
      const sweeper = await open()
      await sweeper.sweep(new Set())
      await sweeper.close()
      throw new Error(`What was left of ${hostId}: ${JSON.stringify(left)}`)
    },
  }
}

export type TestHost = ReturnType<typeof openHost>
