import { readdir, rename, symlink, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { createLog } from "../../src/log.ts"
import { hostTable } from "../../src/net/policy.ts"
import type { Slot } from "../../src/net/slot.ts"
import type { Slots } from "../../src/net/slots.ts"
import { eventually } from "../fixtures/eventually.ts"
import { CLAIMS, never, nothing, openHost, policy, run, type TestHost } from "./slots-under-test.ts"

const take = (slots: Slots, count: number): Promise<Slot[]> =>
  Promise.all(Array.from({ length: count }, () => slots.take(never)))
const indexesOf = (slots: readonly Slot[]) => slots.map(({ index }) => index).toSorted((a, b) => a - b)
const whole = (indexes: readonly number[]) => ({
  namespaces: [...indexes],
  links: [...indexes],
  claims: [...indexes],
  hasRules: true,
})
/** Resolves when there are so many whole slots. */
const untilThere = (host: TestHost, count: number) =>
  eventually(
    async () => {
      const { namespaces, links, claims } = await host.existing()
      for (const all of [namespaces, links, claims]) expect(all).toHaveLength(count)
      return namespaces
    },
    { interval: 10 },
  )
const rulesOf = (hostId: string) => run("nft", "list", "table", "inet", hostTable(hostId))
/** Indexes that no daemon gets to: each takes the lowest that is free. */
let next = 20_000 + (process.pid % 10_000)
const farIndex = () => ++next

describe("The pool", () => {
  test("keeps as many slots ready as it is told, and hands those out first", async () => {
    await using host = openHost()
    const slots = await host.open({ ready: 2 })
    await slots.sweep(new Set())
    const prepared = await untilThere(host, 2)
    const taken = await slots.take(never)
    expect(prepared).toContain(taken.index)
    await untilThere(host, 3)
    // It waits for the filling, and what is neither used nor ready would go.
    await slots.sweep(new Set())
    expect((await host.existing()).claims).toHaveLength(3)
    await slots.release(taken)
    await slots.sweep(new Set())
    expect((await host.existing()).claims).toHaveLength(2)
    // It was told to fill while it was full; that must not have been the last time.
    const again = await slots.take(never)
    await untilThere(host, 3)
    await slots.release(again)
    await slots.close()
    expect(await host.existing()).toEqual(nothing)
  })

  test("makes one at once for everybody who asks while it is empty, no two alike", async () => {
    await using host = openHost()
    const slots = await host.open()
    const taken = await take(slots, 5)
    expect(await host.existing()).toEqual(whole(indexesOf(taken)))
    for (const { index, namespace, uid, address, tap } of taken) {
      expect({ namespace, uid, address, tap }).toEqual({
        namespace: `torpor-${host.hostId.slice(0, 8)}-${index}`,
        uid: 600_000 + index,
        address: `100.127.${Math.floor((2 * index + 1) / 256)}.${(2 * index + 1) % 256}`,
        tap: "tap0",
      })
      // Another uid can't open it.
      expect(await run("ip", "-n", namespace, "tuntap", "show")).toMatch(new RegExp(`tap0: tap .*user ${uid}`))
    }
    expect(new Set(indexesOf(taken)).size).toBe(5)
    await Promise.all(taken.map((slot) => slots.release(slot)))
    expect(await host.existing()).toEqual({ ...nothing, hasRules: true })
    await slots.close()
  })

  test("takes a slot back once: later it is another's, under the same name", async () => {
    await using host = openHost()
    const slots = await host.open()
    const first = await slots.take(never)
    await Promise.all([slots.release(first), slots.release(first)])
    const second = await slots.take(never)
    await slots.release(first)
    expect(await host.existing()).toEqual(whole([second.index]))
    await slots.release(second)
    await slots.close()
  })

  test("has an end, and says so; what was given out stays whole", async () => {
    await using host = openHost()
    const slots = await host.open({ addressRange: "100.127.0.0/27" })
    const taken: Slot[] = []
    const takeAll = async () => {
      for (;;) taken.push(await slots.take(never))
    }
    // Other daemons of this machine may have some of the sixteen, and may give one back meanwhile.
    const isAllTaken = async () => {
      const claimed = new Set((await readdir(CLAIMS)).map(Number))
      return Array.from({ length: 16 }, (_, index) => claimed.has(index)).every(Boolean)
    }
    do await expect(takeAll()).rejects.toThrow("All 16 slots of 100.127.0.0/27 are taken.")
    while (!(await isAllTaken()))
    for (const index of indexesOf(taken)) expect(index).toBeLessThan(16)
    expect(await host.existing()).toEqual(whole(indexesOf(taken)))
    await Promise.all(taken.map((slot) => slots.release(slot)))
    await slots.close()
  })

  test("of a range without room for a link has no slot", async () => {
    await using host = openHost()
    const slots = await host.open({ addressRange: "100.126.0.0/32" })
    await expect(slots.take(never)).rejects.toThrow("All 0 slots of 100.126.0.0/32 are taken.")
    await slots.close()
  })

  test("that has no other slot asks for those that were offered, the longest offered first", async () => {
    await using host = openHost()
    const slots = await host.open({ addressRange: "100.126.0.0/32" })
    const given: number[] = []
    const offer = (index: number) => slots.offer({ index } as Slot, async () => void given.push(index))
    const withdrawals = [1, 2, 3].map(offer)
    withdrawals[0]?.()
    offer(1)
    withdrawals[2]?.()
    await expect(slots.take(never)).rejects.toThrow("All 0 slots of 100.126.0.0/32 are taken.")
    expect(given).toEqual([2, 1])
    await slots.close()
  })

  test.for([
    [{ addressRange: "100.127.0.1/16" }, "'100.127.0.1/16' has bits set behind its prefix."],
    [{ nameServers: ["192.0.2.1", "dns.example"] }, "'dns.example' is no name server"],
    [{ policy: { ...policy, allow: [{ cidr: "10.0.0.1/8" }] } }, "'10.0.0.1/8' has bits set behind its prefix."],
  ] as const)("isn't opened with %j", async ([options, message]) => {
    await using host = openHost()
    await expect(host.open(options)).rejects.toThrow(message)
  })

  test("leaves nothing of a slot that could not be made", async () => {
    await using host = openHost()
    // Nobody has that for a uid.
    const slots = await host.open({ uidBase: NaN })
    await expect(slots.take(never)).rejects.toThrow("sh failed")
    expect(await host.existing()).toEqual({ ...nothing, hasRules: true })
    await slots.close()
  })

  test("leaves nothing of a slot that nobody waits for any more", async () => {
    await using host = openHost()
    const slots = await host.open()
    await expect(slots.take(AbortSignal.abort(new Error("Enough")))).rejects.toThrow("Enough")
    const stop = new AbortController()
    const taken = slots.take(stop.signal)
    stop.abort(new Error("Enough"))
    await expect(taken).rejects.toThrow("Enough")
    expect(await host.existing()).toEqual({ ...nothing, hasRules: true })
    await slots.close()
  })

  test("that is closed while slots are made leaves none, and makes no more", async () => {
    await using host = openHost()
    const slots = await host.open({ ready: 8 })
    await slots.sweep(new Set())
    const taken = Promise.allSettled([slots.take(never), slots.take(never)])
    await slots.close()
    for (const { status } of await taken) expect(status).toBe("rejected")
    expect(await host.existing()).toEqual(nothing)
    await expect(slots.take(never)).rejects.toThrow("The slots are closed")
    expect(await host.existing()).toEqual(nothing)
  })
})

describe("A slot in use", () => {
  test("outlives the daemon, with the host's rules, and is taken over by the next", async () => {
    await using host = openHost()
    const first = await host.open({ ready: 1 })
    const [slot, other] = (await take(first, 2)) as [Slot, Slot]
    await first.close()
    expect(await host.existing()).toEqual(whole(indexesOf([slot, other])))
    const second = await host.open()
    await second.sweep(new Set([slot.index]))
    expect(await host.existing()).toEqual(whole([slot.index]))
    const adopted = (await second.adopt(slot.index)) as Slot
    expect(adopted).toEqual(slot)
    expect(await second.adopt(slot.index)).toBe(adopted)
    await second.sweep(new Set())
    expect(await host.existing()).toEqual(whole([slot.index]))
    await second.release(adopted)
    await second.close()
    expect(await host.existing()).toEqual(nothing)
  })

  test("keeps the host's rules when the next daemon ends before it looked at any VM", async () => {
    await using host = openHost()
    const first = await host.open()
    const slot = await first.take(never)
    await first.close()
    await (await host.open()).close()
    expect(await host.existing()).toEqual(whole([slot.index]))
    const third = await host.open()
    await third.sweep(new Set())
    await third.close()
  })

  test("is no earlier daemon's where this one has made it, for whomever", async () => {
    await using host = openHost()
    const slots = await host.open({ ready: 1 })
    await slots.sweep(new Set())
    const [index = -1] = await untilThere(host, 1)
    // It waits for the filling: there, it may not be ready yet.
    await slots.sweep(new Set())
    const another = await slots.take(never)
    expect(another.index).toBe(index)
    expect(await slots.adopt(index)).toBeUndefined()
    await slots.release(another)
    expect(await slots.adopt(index)).toBeUndefined()
    await slots.close()
  })

  test("is given back once by number too: what has the number by then stays another's", async () => {
    await using host = openHost()
    const first = await host.open()
    const left = await first.take(never)
    await first.close()
    const second = await host.open()
    await second.release((await second.adopt(left.index)) as Slot)
    // Another daemon of this machine may be faster: then it has another number.
    const another = await second.take(never)
    const again = await second.adopt(left.index)
    if (again !== undefined) await second.release(again)
    expect(await host.existing()).toEqual(whole([another.index]))
    await second.release(another)
    await second.close()
  })

  test("that a restart of the machine took is given back without harm, also when it is another's by now", async () => {
    await using host = openHost()
    await using stranger = openHost()
    const [slots, others] = await Promise.all([host.open({ log: createLog("silent") }), stranger.open()])
    const theirs = await others.take(never)
    const rules = await rulesOf(stranger.hostId)
    for (const index of [theirs.index, farIndex()]) {
      const adopted = (await slots.adopt(index)) as Slot
      expect(adopted.index).toBe(index)
      await slots.release(adopted)
    }
    expect(await stranger.existing()).toEqual(whole([theirs.index]))
    expect(await rulesOf(stranger.hostId)).toBe(rules)
    await slots.close()
    expect(await host.existing()).toEqual(nothing)
    await others.release(theirs)
    await others.close()
  })
})

describe("Two host ids on one machine", () => {
  test("never have a slot, an address, a name or a uid in common, and one closes without harm to the other", async () => {
    await using one = openHost()
    await using two = openHost()
    const [first, second] = await Promise.all([one.open({ ready: 2 }), two.open({ ready: 2 })])
    const [ours, theirs] = await Promise.all([take(first, 4), take(second, 4)])
    await Promise.all([first.sweep(new Set()), second.sweep(new Set())])
    const [mine, before] = [await untilThere(one, 6), await untilThere(two, 6)]
    expect(mine.filter((index) => before.includes(index))).toEqual([])
    for (const key of ["index", "namespace", "uid", "address"] as const)
      expect(new Set([...ours, ...theirs].map((slot) => slot[key])).size, key).toBe(8)
    const rules = await rulesOf(two.hostId)
    await Promise.all(ours.map((slot) => first.release(slot)))
    await first.close()
    expect(await one.existing()).toEqual(nothing)
    expect(await two.existing()).toEqual(whole(before))
    expect(await rulesOf(two.hostId)).toBe(rules)
    await Promise.all(theirs.map((slot) => second.release(slot)))
    await second.close()
  })

  test("don't need to see each other's claims: an address that the machine has already is nobody's to take", async () => {
    await using one = openHost()
    await using two = openHost()
    const [first, second] = [await one.open(), await two.open()]
    const ours = await first.take(never)
    // As in a container with this network and another /run.
    const [claim, elsewhere] = [join(CLAIMS, String(ours.index)), `/run/torpor/claim-${one.hostId}`]
    await rename(claim, elsewhere)
    const theirs = await second.take(never).finally(() => rename(elsewhere, claim))
    expect(theirs.index).not.toBe(ours.index)
    await Promise.all([first.release(ours), second.release(theirs)])
    await Promise.all([first.close(), second.close()])
  })

  test("don't need the same nft: the host's rules name no set, since of a newer one's an older dies", async () => {
    await using host = openHost()
    const slots = await host.open()
    await slots.rule()
    const rules = await rulesOf(host.hostId)
    expect(rules).toContain("chain forward {")
    expect(rules).not.toMatch(/^\s*(set|map) /m)
    await slots.close()
  })
})

describe("A sweep", () => {
  test("removes whatever part of a slot a crash left, and nothing that is kept or another's", async () => {
    await using host = openHost()
    await using stranger = openHost()
    const mark = host.hostId.slice(0, 8)
    const slots = await host.open()
    const others = await stranger.open()
    const [kept, theirs] = [await slots.take(never), await others.take(never)]
    const [half, bare, claimed, linked, peer, both] = Array.from({ length: 6 }, farIndex)
    // As `ip netns add` leaves it when it is killed between its two steps.
    await writeFile(`/run/netns/torpor-${mark}-${half}`, "")
    await run("ip", "netns", "add", `torpor-${mark}-${bare}`)
    await symlink(host.hostId, join(CLAIMS, String(claimed)))
    await run("ip", "link", "add", `t${mark}-${linked}`, "type", "veth", "peer", "name", `t${mark}-${peer}`)
    // An index that the range has no room for: it was larger once.
    const large = 100_000 + farIndex()
    await run("ip", "netns", "add", `torpor-${mark}-${large}`)
    await run("ip", "netns", "add", `torpor-${mark}-${both}`)
    await symlink(stranger.hostId, join(CLAIMS, String(both)))
    const after = await host.open()
    await after.sweep(new Set([kept.index]))
    expect(await host.existing()).toEqual(whole([kept.index]))
    expect(await stranger.existing()).toEqual({
      ...whole([theirs.index]),
      claims: [theirs.index, both].toSorted((a = 0, b = 0) => a - b),
    })
    await after.sweep(new Set())
    expect(await host.existing()).toEqual({ ...nothing, hasRules: true })
    await Promise.all([slots.close(), after.close(), others.release(theirs)])
    await others.sweep(new Set())
    await others.close()
  })
})
