/** The host's slots: a pool of namespaces kept ready, claimed host-wide, so that several daemons share a machine. */
import { mkdir, open, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { runCommand } from "../command.ts"
import type { Log } from "../log.ts"
import { parseRange, slotAddresses } from "./address.ts"
import { makeNamespace, removeNamespace, type NamespacePlan } from "./namespace.ts"
import { parseNameServer } from "./name-server.ts"
import { hostRules, hostTable, linkPrefix, type EgressPolicy } from "./policy.ts"
import { openResolver, type Resolver } from "./resolver.ts"
import type { Slot } from "./slot.ts"

export interface SlotsOptions {
  readonly hostId: string
  /** How many namespaces are kept ready. */
  readonly ready: number
  /** A slot's uid is this plus its index. */
  readonly uidBase: number
  /** `a.b.c.d/n` for the links, two addresses each. */
  readonly addressRange: string
  readonly policy: EgressPolicy
  /** `address`, `address:port` or `[address]:port` of name servers; empty: the host's own. */
  readonly nameServers: readonly string[]
  readonly log: Log
}

export interface Slots {
  /** A fresh slot; at once while the pool has one. */
  take(signal: AbortSignal): Promise<Slot>
  /** The slot of a VM that an earlier daemon started: its namespace is there, and is ours again. */
  adopt(index: number): Promise<Slot>
  /** Ends the slot: its namespace goes with every connection in it. */
  release(slot: Slot): Promise<void>
  /** Removes every namespace and claim of this host id that is not to be kept; for the start of a daemon. */
  sweep(keep: ReadonlySet<number>): Promise<void>
  /** Removes what nobody uses; slots in use stay as they are. */
  close(): Promise<void>
}

/** Claims are by host id, not by process: VMs run on while their daemon is down. A data directory given up leaves its claims; `torpor down` takes them back. */
const CLAIMS = "/run/torpor/slots"

/** Opens the pool and writes the host's rules. */
export const openSlots = async (options: SlotsOptions, signal: AbortSignal): Promise<Slots> => {
  const { hostId, log, policy } = options
  const range = parseRange(options.addressRange)
  const size = 2 ** (31 - range.bits)
  const nameServers = options.nameServers.map(parseNameServer)
  const ready: Slot[] = []
  const used = new Map<number, Slot>()
  const resolvers = new Map<number, Resolver>()
  const stop = new AbortController()
  let filling: Promise<void> | undefined
  let sweeping = false

  await mkdir(CLAIMS, { recursive: true })
  await writeFile("/proc/sys/net/ipv4/ip_forward", "1")
  await runCommand("nft", ["-f", "-"], { signal, input: hostRules(hostId, options.addressRange, policy) })

  const planOf = (index: number): NamespacePlan => ({
    name: `torpor-${hostId.slice(0, 8)}-${index}`,
    link: `${linkPrefix(hostId)}${index}`,
    uid: options.uidBase + index,
    ...slotAddresses(range, index),
  })

  const toSlot = (index: number): Slot => {
    const { name, uid, inside } = planOf(index)
    return { index, namespace: name, tap: "tap0", uid, address: inside }
  }

  const claimFree = async (): Promise<number> => {
    const taken = new Set((await readdir(CLAIMS)).map(Number))
    for (let index = 0; index < size; index++) if (!taken.has(index) && (await claim(index, hostId))) return index
    throw new Error(`All ${size} slots of ${options.addressRange} are taken`)
  }

  const openSlot = async (index: number): Promise<Slot> => {
    const resolver = await openResolver({ address: planOf(index).host, nameServers, log })
    resolvers.set(index, resolver)
    return toSlot(index)
  }

  const make = async (makeSignal: AbortSignal): Promise<Slot> => {
    const index = await claimFree()
    try {
      await makeNamespace(planOf(index), policy, makeSignal)
      return await openSlot(index)
    } catch (error) {
      await remove(index)
      throw error
    }
  }

  const remove = async (index: number) => {
    const { name, link } = planOf(index)
    await resolvers.get(index)?.close()
    resolvers.delete(index)
    await removeNamespace(name, link)
    await rm(join(CLAIMS, String(index)), { force: true })
  }

  /** One at a time, in the background: a launch must not wait for its successors. */
  const fill = () => {
    if (filling !== undefined || sweeping || stop.signal.aborted) return
    filling = (async () => {
      try {
        while (ready.length < options.ready && !stop.signal.aborted) ready.push(await make(stop.signal))
      } catch (error) {
        if (!stop.signal.aborted) log.warn({ err: error }, "A slot could not be prepared")
      } finally {
        filling = undefined
      }
    })()
  }

  /** Every namespace and claim of this host id that is neither in use, nor ready, nor to be kept. */
  const removeOthers = async (keep: ReadonlySet<number>) => {
    const prefix = `torpor-${hostId.slice(0, 8)}-`
    const namespaces = await readdir("/run/netns").catch(() => [])
    const ours = new Set(
      namespaces.filter((name) => name.startsWith(prefix)).map((name) => Number(name.slice(prefix.length))),
    )
    for (const entry of await readdir(CLAIMS)) if ((await ownerOf(Number(entry))) === hostId) ours.add(Number(entry))
    const kept = new Set([...keep, ...used.keys(), ...ready.map(({ index }) => index)])
    await Promise.all([...ours].filter((index) => !kept.has(index)).map(remove))
  }

  return {
    async take(takeSignal) {
      const slot = ready.shift() ?? (await make(takeSignal))
      used.set(slot.index, slot)
      fill()
      return slot
    },
    async adopt(index) {
      const known = used.get(index)
      if (known !== undefined) return known
      if (ready.some((slot) => slot.index === index)) throw new Error(`Slot ${index} is free: no VM has it`)
      await claim(index, hostId)
      const slot = await openSlot(index).catch(() => toSlot(index))
      used.set(index, slot)
      return slot
    },
    async release(slot) {
      // Given back already: by now it may be another VM's.
      if (!used.delete(slot.index)) return
      await remove(slot.index)
      fill()
    },
    async sweep(keep) {
      // A slot that is being made is claimed, and in no list yet: it would be swept away.
      sweeping = true
      try {
        await filling
        await removeOthers(keep)
      } finally {
        sweeping = false
      }
      fill()
    },
    async close() {
      stop.abort()
      await filling
      await Promise.all(ready.splice(0).map(({ index }) => remove(index)))
      await Promise.all([...resolvers.values()].map((resolver) => resolver.close()))
      if (used.size === 0) {
        const last = AbortSignal.timeout(10_000)
        await runCommand("nft", ["delete", "table", "inet", hostTable(hostId)], { signal: last }).catch(
          (error: unknown) => log.warn({ err: error }, "The host's rules could not be removed"),
        )
      }
    },
  }
}

const ownerOf = (index: number) => readFile(join(CLAIMS, String(index)), "utf8").catch(() => undefined)

/** Claims an index for a host id; `false` when it is another's. */
const claim = async (index: number, hostId: string): Promise<boolean> => {
  try {
    const file = await open(join(CLAIMS, String(index)), "wx", 0o600)
    await file.writeFile(hostId)
    await file.close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
    return false
  }
}
