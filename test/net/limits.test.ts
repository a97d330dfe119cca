import { describe, expect, test } from "vitest"
import { RESOLVER_PORT } from "../../src/net/policy.ts"
import { GUEST, type Slot } from "../../src/net/slot.ts"
import { eventually } from "../fixtures/eventually.ts"
import { toQuery, TYPES } from "./dns-messages.ts"
import { toFrame } from "./frames.ts"
import { OPEN_PORT, openPlayground } from "./playground.ts"

const QUESTION = toQuery(1, "www.example.org", TYPES.A).toString("hex")

describe("Of its connections a guest", () => {
  test("has so many open at once, and one more when one has ended", async () => {
    await using small = await openPlayground({ maxConnections: 5 })
    const { guest, internet } = small
    const target = { host: internet.address, port: OPEN_PORT }
    const greeting = `tcp ${internet.hostAddress} to ${target.host}:${OPEN_PORT}`
    for (let count = 0; count < 5; count++) expect(await guest.hold(target)).toBe(greeting)
    for (let count = 0; count < 3; count++) expect(await guest.hold(target)).toBe("ECONNREFUSED")
    expect(await guest.udp(target)).toBe("EHOSTUNREACH")
    await guest.drop()
    // The kernel hears of their end a moment later.
    await eventually(async () => expect(await guest.hold(target)).toBe(greeting), { interval: 1 })
  })

  test("has so many questions of its resolver open at once: each takes a place in the host's memory for a while", async () => {
    await using small = await openPlayground({ maxConnections: 5 })
    expect(await small.guest.flood({ host: GUEST.resolver, port: 53, count: 20, message: QUESTION })).toBe(5)
  })

  test("opens so many a second", async () => {
    await using slow = await openPlayground({ newConnectionsPerSecond: 5 })
    const { guest, internet } = slow
    const begun = performance.now()
    const answered = await guest.flood({ host: internet.address, port: OPEN_PORT, count: 50 })
    const seconds = (performance.now() - begun) / 1000
    expect(answered).toBeGreaterThanOrEqual(5)
    expect(answered).toBeLessThanOrEqual(5 + 5 * Math.ceil(seconds))
  })

  test("opens one by a hundred datagrams of one source that nobody answers", async () => {
    await using slow = await openPlayground({ newConnectionsPerSecond: 5 })
    const { guest, internet } = slow
    const destination = "198.51.100.250"
    await internet.run(
      "nft",
      `table inet count { chain arriving { type filter hook prerouting priority -450; ip daddr ${destination} counter; }; }`,
    )
    guest.inject(...Array.from({ length: 100 }, () => toFrame({ destination })))
    await slow.settle()
    expect(await internet.run("nft", "list", "table", "inet", "count")).toContain("counter packets 100 ")
  })
})

test("While its daemon is down a guest keeps its connections and its limits; the next one gives it back its resolver", async () => {
  await using other = await openPlayground()
  const { guest, host, internet, slot, linkAddress } = other
  const target = { host: internet.address, port: OPEN_PORT }
  const port = await host.listen({ host: linkAddress, port: 0 })
  await guest.hold(target)
  await other.slots.close()
  expect(await guest.tcp(target)).toBe(`tcp ${internet.hostAddress} to ${target.host}:${OPEN_PORT}`)
  for (const refused of [port, RESOLVER_PORT])
    expect(await guest.tcp({ host: linkAddress, port: refused })).toBe("ECONNREFUSED")
  expect(await guest.tcp({ host: "10.0.0.1", port: 80 })).toBe("ECONNREFUSED")
  expect(await guest.resolve({ server: GUEST.resolver, name: "www.example.org" })).toBe("ECONNREFUSED")
  const next = await other.reopen()
  await next.sweep(new Set([slot.index]))
  const adopted = (await next.adopt(slot.index)) as Slot
  expect(await guest.resolve({ server: GUEST.resolver, name: "www.example.org" })).toBe("203.0.113.7")
  expect(await host.heard()).toEqual([])
  await guest.drop()
  await next.release(adopted)
  await next.close()
})
