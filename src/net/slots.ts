/** The host's slots: a pool of namespaces kept ready, claimed host-wide, so that several daemons share a machine. */
import { readdir, writeFile } from "node:fs/promises"
import { networkInterfaces } from "node:os"
import { runCommand } from "../command.ts"
import { OperatorError } from "../errors.ts"
import type { Log } from "../log.ts"
import { parseRange, slotAddresses } from "./address.ts"
import { openClaims } from "./claims.ts"
import { parseNameServer } from "./name-server.ts"
import { makeNamespace, removeNamespace } from "./namespace.ts"
import { hostRules, linkPrefix, noHostRules, type EgressPolicy } from "./policy.ts"
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
  /** Writes the host's rules, once; no slot is made before. Rejects when they cannot be written. */
  rule(): Promise<void>
  /** A fresh slot; at once while the pool has one. */
  take(signal: AbortSignal): Promise<Slot>
  /**
   * The slot of a VM that an earlier daemon started: its namespace is there, and is ours again. The same one whenever it is asked for;
   * nothing where this daemon has made a slot of that number, which can be no earlier one's.
   */
  adopt(index: number): Promise<Slot | undefined>
  /** Ends the slot: its namespace goes with every connection in it. Once: what has its number by the next time is another slot. */
  release(slot: Slot): Promise<void>
  /** As {@link release}, for who has nothing to wait for: the slot stays claimed until all of it is gone, and `close` waits for that. */
  retire(slot: Slot): void
  /**
   * Whoever needs it may have the slot: where all are taken, that which was offered longest goes first. `giveUp` resolves when it has been
   * retired. Answers what takes the offer back.
   */
  offer(slot: Slot, giveUp: () => Promise<void>): () => void
  /** Removes every namespace, link and claim of this host id that is not to be kept; for the start of a daemon. */
  sweep(keep: ReadonlySet<number>): Promise<void>
  /** Removes what nobody uses; slots in use stay as they are, and so do the host's rules while there is one, known to this daemon or not. */
  close(): Promise<void>
}

/** About as long as a VM that was given one has much to do, or a daemon that has just been started. */
const FILL_PAUSE_MS = 1000

/** Opens the pool; slots that are adopted are under the rules of an earlier daemon until this one has written its own, unless `signal` is aborted. */
export const openSlots = async (options: SlotsOptions, signal: AbortSignal): Promise<Slots> => {
  const { hostId, log, policy } = options
  const range = parseRange(options.addressRange)
  const size = Math.floor(2 ** (31 - range.bits))
  const nameServers = options.nameServers.map(parseNameServer)
  for (const { cidr } of policy.allow) parseRange(cidr)
  const ready: Slot[] = []
  const used = new Map<number, Slot>()
  const adopted = new Map<number, Promise<Slot>>()
  /** The numbers of all that were made here, whatever has become of them. */
  const made = new Set<number>()
  const resolvers = new Map<number, Resolver>()
  const stop = new AbortController()
  const making = new Set<Promise<unknown>>()
  const leaving = new Set<Promise<void>>()
  let filling: Promise<void> | undefined
  let pause: NodeJS.Timeout | undefined
  let sweeping = false
  const offered = new Map<number, () => Promise<void>>()
  /** Those who wait for a slot that is given up for them: it is not for the pool. */
  let short = 0

  const claims = await openClaims(hostId, size)
  await writeFile("/proc/sys/net/ipv4/ip_forward", "1")

  let ruling: Promise<unknown> | undefined
  const rule = async () => {
    ruling ??= nft(hostRules(hostId, options.addressRange, policy), signal).catch((error: unknown) => {
      ruling = undefined
      throw error
    })
    await ruling
  }

  const namePrefix = `torpor-${hostId.slice(0, 8)}-`
  const namesOf = (index: number) => ({ name: `${namePrefix}${index}`, link: `${linkPrefix(hostId)}${index}` })
  const uidOf = (index: number) => options.uidBase + index
  const toSlot = (index: number): Slot => ({
    index,
    namespace: namesOf(index).name,
    tap: "tap0",
    uid: uidOf(index),
    address: slotAddresses(range, index).inside,
  })

  const openSlot = async (index: number): Promise<Slot> => {
    const resolver = await openResolver({ address: slotAddresses(range, index).host, nameServers, log })
    resolvers.set(index, resolver)
    return toSlot(index)
  }

  const claimFree = () => {
    // Somebody with this network but another /run, in a container say, doesn't see our claims, nor we theirs.
    const taken = new Set(Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map((one) => one.address)))
    return claims.claimFree((candidate) => !taken.has(slotAddresses(range, candidate).host))
  }

  /** As {@link claimFree}, and what is offered is taken where there is no other. */
  const claimAny = async (): Promise<number | undefined> => {
    short++
    try {
      for (;;) {
        const index = await claimFree()
        const [next] = offered
        if (index !== undefined || next === undefined) return index
        offered.delete(next[0])
        await next[1]()
        await Promise.all(leaving)
      }
    } finally {
      short--
    }
  }

  const make = async (claim: () => Promise<number | undefined>): Promise<Slot> => {
    const index = await claim()
    if (index === undefined) throw new OperatorError(`All ${size} slots of ${options.addressRange} are taken.`)
    made.add(index)
    try {
      await rule()
      await makeNamespace({ ...namesOf(index), uid: uidOf(index), ...slotAddresses(range, index) }, policy)
      return await openSlot(index)
    } catch (error) {
      await remove(index)
      throw error
    }
  }

  const remove = async (index: number) => {
    await resolvers.get(index)?.close()
    resolvers.delete(index)
    await removeNamespace(namesOf(index))
    await claims.release(index)
  }

  /** A slot for one who may have stopped waiting by the time it is there. */
  const makeFor = async (takeSignal: AbortSignal): Promise<Slot> => {
    const slot = await make(claimAny)
    if (!takeSignal.aborted && !stop.signal.aborted) return slot
    await remove(slot.index)
    takeSignal.throwIfAborted()
    throw stop.signal.reason
  }

  /** One at a time, in the background: a launch must not wait for its successors. */
  const fill = () => {
    // With nothing to do it would be over before it is noted, and noted as under way for good.
    if (filling !== undefined || sweeping || short > 0 || stop.signal.aborted || ready.length >= options.ready) return
    filling = (async () => {
      try {
        while (ready.length < options.ready && short === 0 && !stop.signal.aborted) ready.push(await make(claimFree))
      } catch (error) {
        if (!stop.signal.aborted) log.warn({ err: error }, "A slot could not be prepared")
      } finally {
        filling = undefined
      }
    })()
  }

  /** As {@link fill}; while there is one left, whoever has just taken one has the processors first. */
  const fillBehind = () => {
    if (ready.length === 0) return fill()
    fillLater()
  }

  const fillLater = () => {
    pause ??= setTimeout(() => {
      pause = undefined
      fill()
    }, FILL_PAUSE_MS).unref()
  }

  /** What this machine has of this host id, whole or half: a crash may have left any part of a slot without the others. */
  const existing = async (): Promise<number[]> => {
    const indexesIn = async (directory: string, prefix: string) =>
      (await readdir(directory).catch(() => []))
        .filter((name) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)))
        .map((name) => Number(name.slice(prefix.length)))
    const found = await Promise.all([
      indexesIn("/run/netns", namePrefix),
      indexesIn("/sys/class/net", linkPrefix(hostId)),
      claims.own(),
    ])
    return [...new Set(found.flat())]
  }

  const adopt = async (index: number): Promise<Slot> => {
    let slot = toSlot(index)
    try {
      if (!(await claims.claim(index))) throw new Error(`Slot ${index} is another host id's by now`)
      slot = await openSlot(index)
    } catch (error) {
      // The machine was started anew, say. Whoever has the VM will see that it is gone, and give the slot back.
      log.warn({ err: error, index }, "A slot is not as it was left")
    }
    used.set(index, slot)
    return slot
  }

  const release = async (slot: Slot) => {
    // Given back already: by now it may be another VM's, under the same number.
    if (used.get(slot.index) !== slot) return
    used.delete(slot.index)
    offered.delete(slot.index)
    await remove(slot.index)
    fill()
  }

  return {
    rule,
    async take(takeSignal) {
      stop.signal.throwIfAborted()
      takeSignal.throwIfAborted()
      let slot = ready.shift()
      if (slot === undefined) {
        const fresh = makeFor(takeSignal)
        making.add(fresh)
        slot = await fresh.finally(() => making.delete(fresh))
      }
      used.set(slot.index, slot)
      fillBehind()
      return slot
    },
    async adopt(index) {
      if (made.has(index)) return undefined
      const adopting = adopted.get(index) ?? adopt(index)
      adopted.set(index, adopting)
      return adopting
    },
    release,
    retire(slot) {
      const left = release(slot)
        .catch((error: unknown) => log.warn({ err: error, index: slot.index }, "A slot is left to the next sweep"))
        .finally(() => leaving.delete(left))
      leaving.add(left)
    },
    offer({ index }, giveUp) {
      offered.set(index, giveUp)
      return () => {
        if (offered.get(index) === giveUp) offered.delete(index)
      }
    },
    async sweep(keep) {
      // A slot that is being made is claimed, and in no list yet: it would be swept away.
      sweeping = true
      try {
        await Promise.all([filling, ...leaving])
        const kept = new Set([...keep, ...used.keys(), ...ready.map(({ index }) => index)])
        await Promise.all((await existing()).filter((index) => !kept.has(index)).map(remove))
      } finally {
        sweeping = false
      }
      fillLater()
    },
    async close() {
      stop.abort(new Error("The slots are closed"))
      clearTimeout(pause)
      await Promise.allSettled([filling, ...making, ...leaving])
      await Promise.all(ready.splice(0).map(({ index }) => remove(index)))
      const open = [...resolvers.values()]
      resolvers.clear()
      await Promise.all(open.map((resolver) => resolver.close()))
      // What this daemon knows isn't enough: one that ends before it has looked at its VMs must not leave them without rules.
      if ((await existing()).length > 0) return
      await nft(noHostRules(hostId), AbortSignal.timeout(10_000)).catch((error: unknown) =>
        log.warn({ err: error }, "The host's rules could not be removed"),
      )
    },
  }
}

const nft = (input: string, signal: AbortSignal) => runCommand("nft", ["-f", "-"], { signal, input })
