import { existsSync } from "node:fs"
import { networkInterfaces } from "node:os"
import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { parseAddress, parseRange, toAddress } from "../../src/net/address.ts"
import { RESOLVER_PORT } from "../../src/net/policy.ts"
import { GUEST } from "../../src/net/slot.ts"
import { toQuery, TYPES } from "./dns-messages.ts"
import { FLAGS, ICMP, TCP, toFrame, toIcmp, toIcmp6, toPacket, toRawFrame, toSegment } from "./frames.ts"
import { openGuest } from "./guest.ts"
import { OPEN_PORT, openPlayground, type Playground } from "./playground.ts"
import { openRecorder } from "./recorder.ts"
import { never, openHost, run } from "./slots-under-test.ts"

/** Private ranges that these guests may reach: all of the first, one port of the second. */
const ALLOWED_PORT = 7001
const allow = [{ cidr: "10.253.0.0/16" }, { cidr: "10.254.0.0/16", ports: [ALLOWED_PORT] }]

let play: Playground
beforeAll(async () => {
  play = await openPlayground({ allow, newConnectionsPerSecond: 10_000 })
})
afterAll(() => play?.[Symbol.asyncDispose]())

const tryBoth = async (host: string, port: number) => ({
  tcp: await play.guest.tcp({ host, port }),
  udp: await play.guest.udp({ host, port }),
})
/** Knocks by both. TCP is refused by a reset; for UDP the kernel says so only so often, and what it didn't reach is to be looked for afterwards. */
const knock = async (host: string, port: number) => {
  await play.guest.send({ host, port })
  expect(await play.guest.tcp({ host, port }), `${host}:${port}`).toBe("ECONNREFUSED")
}
const from = (source: string, host: string, port: number) => ({
  tcp: `tcp ${source} to ${host}:${port}`,
  udp: `udp ${source} to ${host}:${port}`,
})
const guestRecorder = () => openRecorder(play.guest.run, "eth0")

const QUESTION = toQuery(1, "www.example.org", TYPES.A).toString("hex")

/** The host's own addresses; those of other daemons' links come and go. */
const hostAddresses = () =>
  Object.entries(networkInterfaces())
    .filter(([name]) => [play.link, play.internet.hostLink].includes(name) || !/^[ti][0-9a-f]{8}-/.test(name))
    .flatMap(([, all]) => all ?? [])
    .filter(({ internal }) => !internal)

describe("A guest reaches", () => {
  test("the internet by TCP and UDP, under the host's name", async () => {
    const { hostAddress, address } = play.internet
    expect(await tryBoth(address, OPEN_PORT)).toEqual(from(hostAddress, address, OPEN_PORT))
    // Nothing listens there, and that is heard too.
    expect(await tryBoth(address, OPEN_PORT + 1)).toEqual({ tcp: "ECONNREFUSED", udp: "ECONNREFUSED" })
  })

  test("the internet by ICMP", async () => {
    const { guest, internet } = play
    await using recorder = await guestRecorder()
    guest.inject(toFrame({ destination: internet.address, protocol: ICMP, body: toIcmp(8, 0) }))
    await internet.arrived.until(`echo-request ${internet.hostAddress} to ${internet.address}`)
    await recorder.until(`echo-reply ${internet.address} to ${GUEST.address}`)
  })

  test("a range that is allowed, and of one with ports those alone, by TCP alone", async () => {
    const { internet } = play
    const [whole, ofPorts] = internet.privateAddresses
    for (const host of [whole, ofPorts])
      for (const port of [ALLOWED_PORT, ALLOWED_PORT + 1]) await internet.listen({ host, port })
    for (const port of [ALLOWED_PORT, ALLOWED_PORT + 1])
      expect(await tryBoth(whole, port)).toEqual(from(internet.hostAddress, whole, port))
    const allowed = from(internet.hostAddress, ofPorts, ALLOWED_PORT).tcp
    expect(await play.guest.tcp({ host: ofPorts, port: ALLOWED_PORT })).toBe(allowed)
    await play.guest.send({ host: ofPorts, port: ALLOWED_PORT })
    await knock(ofPorts, ALLOWED_PORT + 1)
    await play.settle()
    expect((await internet.heard()).filter((text) => text.includes(ofPorts))).toEqual([allowed])
  })

  test("the resolver at 169.254.169.253, by UDP and by TCP, and nothing else there", async () => {
    const { guest, nameServer } = play
    expect(await guest.resolve({ server: GUEST.resolver, name: "www.example.org" })).toBe("203.0.113.7")
    expect(await guest.resolve({ server: GUEST.resolver, name: "long.example.org" })).toBe("203.0.113.7")
    expect(nameServer.asked.map(({ transport, name }) => `${transport} ${name}`)).toEqual([
      "udp www.example.org",
      "udp long.example.org",
      "tcp long.example.org",
    ])
    for (const port of [80, RESOLVER_PORT]) await knock(GUEST.resolver, port)
  })
})

describe("A guest doesn't reach", () => {
  test("any address of its host, though something listens there", async () => {
    const { host } = play
    const addresses = hostAddresses().filter(({ family }) => family === "IPv4")
    expect(addresses.map(({ address }) => address)).toEqual(
      expect.arrayContaining([play.linkAddress, play.internet.hostAddress]),
    )
    for (const { address } of addresses) {
      const ports = [await host.listen({ host: address, port: 0 })]
      // Where the link's own end has the resolver.
      if (address === play.internet.hostAddress) ports.push(await host.listen({ host: address, port: RESOLVER_PORT }))
      for (const port of ports) {
        expect(await host.tcp({ host: address, port })).toContain(`to ${address}:${port}`)
        await knock(address, port)
      }
    }
    await knock(play.linkAddress, RESOLVER_PORT)
    await play.settle()
    const came = await host.heard()
    expect(came.filter((text) => text.includes(` ${play.slot.address} `))).toEqual([])
    expect(new Set(came.map((text) => text.split(/ to |:/)[1]))).toEqual(
      new Set(addresses.map(({ address }) => address)),
    )
  })

  test("its host by ICMP, at any address of it", async () => {
    await using recorder = await guestRecorder()
    const addresses = hostAddresses().flatMap(({ family, address }) => (family === "IPv4" ? [address] : []))
    for (const destination of addresses) play.guest.inject(toFrame({ destination, protocol: ICMP, body: toIcmp(8, 0) }))
    await play.settle()
    expect((await recorder.seen()).filter((text) => text.startsWith("echo-reply"))).toEqual([])
  })

  test("its host's loopback, not even where the host has the kernel route there", async () => {
    const { guest, host, link } = play
    // As some container networks set it.
    await run("sh", "-c", `echo 1 > /proc/sys/net/ipv4/conf/${link}/route_localnet`)
    const targets = await Promise.all(
      ["127.0.0.1", "127.0.0.2", "127.255.255.254"].map(async (address) => ({
        destination: address,
        port: await host.listen({ host: address, port: 0 }),
      })),
    )
    for (const { destination, port } of targets) {
      const segment = toSegment({ destination }, port, FLAGS.SYN)
      guest.inject(toFrame({ destination, port }), toFrame({ destination, protocol: TCP, body: segment }))
    }
    await play.settle()
    expect((await host.heard()).filter((text) => text.includes(" to 127."))).toEqual([])
    // They were on their way: it is the host that refuses them.
    expect(await play.left.seen()).toContain(`udp ${play.slot.address} to 127.0.0.2`)
  })

  test.for([
    "169.254.169.254",
    "169.254.0.1",
    "10.0.0.1",
    "10.255.255.254",
    "172.16.0.1",
    "172.31.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.254",
    "192.0.0.8",
    "198.18.0.1",
    "198.19.255.254",
  ])("%s, a name server there neither", async (host) => {
    for (const port of [53, 80]) await knock(host, port)
    await play.settle()
    expect(await play.left.seen()).toContain(`udp ${play.slot.address} to ${host}`)
    expect((await play.internet.arrived.seen()).filter((text) => text.endsWith(` ${host}`))).toEqual([])
  })

  test("any other address of a range that is not the internet; what lies beside these ranges it does", async () => {
    const ranges = [
      "0.0.0.0/8",
      "10.0.0.0/9",
      "100.64.0.0/10",
      "127.0.0.0/8",
      "169.254.0.0/16",
      "172.16.0.0/12",
      "192.0.0.0/24",
      "192.168.0.0/16",
      "198.18.0.0/15",
      "224.0.0.0/4",
      "240.0.0.0/4",
    ].map(parseRange)
    const within = fc
      .constantFrom(...ranges)
      .chain(({ first, bits }) => fc.nat({ max: 2 ** (32 - bits) - 1 }).map((offset) => toAddress(first + offset)))
    const refused = new Set(fc.sample(within, 300))
    const beside = [
      "1.0.0.0",
      "9.255.255.255",
      "11.0.0.0",
      "100.63.255.255",
      "100.128.0.0",
      "126.255.255.255",
      "128.0.0.0",
      "169.253.255.255",
      "169.255.0.0",
      "172.15.255.255",
      "172.32.0.0",
      "191.255.255.255",
      "192.0.1.0",
      "192.167.255.255",
      "192.169.0.0",
      "198.17.255.255",
      "198.20.0.0",
      "223.255.255.255",
    ]
    for (const destination of [...refused, ...beside]) play.guest.inject(toFrame({ destination }))
    await play.settle()
    const arrived = new Set((await play.internet.arrived.seen()).map((text) => text.split(" to ")[1]))
    expect([...refused].filter((address) => arrived.has(address))).toEqual([])
    expect(beside.filter((address) => !arrived.has(address))).toEqual([])
  })

  test("many at once: neither its host nor the internet hears a broadcast or a multicast", async () => {
    const { guest, host, internet, left } = play
    const port = await host.listen({ host: "0.0.0.0", port: 0 })
    const targets = [
      "255.255.255.255",
      "172.31.255.3",
      internet.broadcast,
      "224.0.0.1",
      "224.0.0.251",
      "239.255.255.250",
      ...hostAddresses().flatMap(({ family, address, cidr }) => {
        const bits = Number(cidr?.split("/")[1])
        const first = parseAddress(address)
        return family !== "IPv4" || first === undefined || bits > 30 ? [] : [toAddress(first | (2 ** (32 - bits) - 1))]
      }),
    ]
    for (const target of targets) await guest.send({ host: target, port })
    for (const destination of targets) guest.inject(toFrame({ destination, port }))
    await play.settle()
    expect((await host.heard()).filter((text) => text.endsWith(` to 0.0.0.0:${port}`))).toEqual([])
    expect((await internet.arrived.seen()).filter((text) => targets.includes(text.split(" to ")[1] ?? ""))).toEqual([])
    expect(await left.seen()).toContain(`udp ${play.slot.address} to ${internet.broadcast}`)
  })

  test.skipIf(!existsSync("/proc/sys/net/ipv6"))("anything by IPv6: not its host, nor a router", async () => {
    const { guest, host, slot, left } = play
    const port = await host.listen({ host: "::", port: 0 })
    const ofTap = await run("ip", "-n", slot.namespace, "-6", "-o", "addr", "show", "dev", "tap0")
    const router = /fe80:[0-9a-f:]+/.exec(ofTap)?.[0] ?? "fe80::1"
    await guest.ip(
      "-6 addr add 2001:db8::2/64 dev eth0 nodad",
      `-6 neigh add ${router} lladdr ${GUEST.gatewayMac} nud permanent dev eth0`,
      `-6 route add default via ${router} dev eth0`,
    )
    const addresses = hostAddresses().flatMap(({ family, address }) => (family === "IPv6" ? [address] : []))
    await using recorder = await guestRecorder()
    for (const address of [...addresses, "2001:db8::1", `${router}%eth0`])
      await guest.send({ host: address, port, from: "::" })
    // Whoever answered would be a router, or a neighbour.
    guest.inject(
      toRawFrame(0x86dd, toIcmp6("ff02::2", 133), "33:33:00:00:00:02"),
      toRawFrame(0x86dd, toIcmp6("ff02::1", 128), "33:33:00:00:00:01"),
      toRawFrame(0x86dd, toIcmp6(router, 128)),
    )
    await play.settle()
    expect((await host.heard()).filter((text) => text.includes(` to :::${port}`))).toEqual([])
    expect(await recorder.seen()).not.toContain("ipv6")
    expect(await left.seen()).not.toContain("ipv6")
  })

  test("another guest, its link, or its resolver, of the same host id or another's", async () => {
    const stranger = openHost()
    await using opened = new AsyncDisposableStack()
    opened.use(stranger)
    const others = await stranger.open({ nameServers: [`127.0.0.1:${play.nameServer.port}`] })
    opened.defer(() => others.close())
    for (const slots of [play.slots, others]) {
      const slot = await slots.take(never)
      opened.defer(() => slots.release(slot))
      const neighbour = opened.use(await openGuest(slot))
      for (const host of ["127.0.0.1", GUEST.address]) await neighbour.listen({ host, port: 8080 })
      await neighbour.listen({ host: GUEST.address, port: GUEST.agentPort })
      const link = toAddress((parseAddress(slot.address) ?? NaN) - 1)
      const port = await play.host.listen({ host: link, port: 0 })
      // All of it is there, for the host and for the neighbour.
      expect(await play.host.tcp({ host: slot.address, port: 8080 })).toBe(`tcp ${GUEST.gateway} to 127.0.0.1:8080`)
      expect(await neighbour.resolve({ server: GUEST.resolver, name: "www.example.org" })).toBe("203.0.113.7")
      const targets: [host: string, port: number][] = [
        [slot.address, 8080],
        [slot.address, GUEST.agentPort],
        [link, port],
        [link, RESOLVER_PORT],
      ]
      const before = play.nameServer.asked.length
      for (const target of targets) await knock(...target)
      await play.guest.send({ host: link, port: RESOLVER_PORT, message: QUESTION })
      await play.settle()
      expect(play.nameServer.asked).toHaveLength(before)
      expect((await play.host.heard()).filter((text) => text.endsWith(` to ${link}:${port}`))).toEqual([])
      expect(await neighbour.heard()).toEqual([`tcp ${GUEST.gateway} to 127.0.0.1:8080`])
    }
  })
})

describe("Nothing leaves a slot", () => {
  test.for<[what: string, address: string, frame: (destination: string) => Buffer]>([
    ["from another MAC", "198.51.100.201", (destination) => toFrame({ destination, sourceMac: "02:54:4f:52:50:03" })],
    ["from the gateway's address", "198.51.100.202", (destination) => toFrame({ destination, source: GUEST.gateway })],
    ["from loopback", "198.51.100.203", (destination) => toFrame({ destination, source: "127.0.0.1" })],
    [
      "from an address of the internet",
      "198.51.100.204",
      (destination) => toFrame({ destination, source: "192.0.2.99" }),
    ],
    ["from everybody", "198.51.100.205", (destination) => toFrame({ destination, source: "0.0.0.0" })],
    [
      "that is a reset of no connection",
      "198.51.100.206",
      (destination) => toFrame({ destination, protocol: TCP, body: toSegment({ destination }, 80, FLAGS.RST) }),
    ],
    [
      "that is a segment with every flag",
      "198.51.100.207",
      (destination) =>
        toFrame({
          destination,
          protocol: TCP,
          body: toSegment({ destination }, 80, FLAGS.SYN | FLAGS.FIN | FLAGS.RST),
        }),
    ],
    [
      "that is a segment with a wrong checksum",
      "198.51.100.208",
      (destination) => toFrame({ destination, protocol: TCP, body: toSegment({ destination }, 80, FLAGS.SYN, 1) }),
    ],
    [
      "that answers an echo request that nobody sent",
      "198.51.100.209",
      (destination) => toFrame({ destination, protocol: ICMP, body: toIcmp(0, 0) }),
    ],
    [
      "that complains of a packet that nobody sent",
      "198.51.100.210",
      (destination) => {
        const packet = toPacket({ source: destination, destination: GUEST.address })
        return toFrame({ destination, protocol: ICMP, body: toIcmp(3, 3, Buffer.concat([Buffer.alloc(4), packet])) })
      },
    ],
  ])("%s", async ([, destination, frame]) => {
    play.guest.inject(frame(destination))
    await play.settle()
    expect((await play.left.seen()).filter((text) => text.includes(destination))).toEqual([])
  })

  test("from an address of the slot's own link, by which the host would take it for an answer", async () => {
    for (const source of [play.slot.address, play.linkAddress])
      play.guest.inject(toFrame({ destination: "198.51.100.211", source }))
    await play.settle()
    expect((await play.left.seen()).filter((text) => text.includes("198.51.100.211"))).toEqual([])
  })

  test("that isn't IP", async () => {
    // An ARP request for the host's end of the link, and one that says that it is here.
    const { linkAddress, guest, slot } = play
    const bytes = (address: string) => Buffer.from(address.split(".").map(Number))
    const mac = Buffer.from(GUEST.mac.replaceAll(":", ""), "hex")
    const arp = (operation: number, sender: string, target: string) =>
      Buffer.concat([Buffer.from([0, 1, 8, 0, 6, 4, 0, operation]), mac, bytes(sender), Buffer.alloc(6), bytes(target)])
    const before = await run("ip", "-n", slot.namespace, "neigh", "show", "dev", "tap0")
    guest.inject(
      toRawFrame(0x0806, arp(1, GUEST.address, linkAddress), "ff:ff:ff:ff:ff:ff"),
      toRawFrame(0x0806, arp(2, linkAddress, GUEST.gateway)),
      toRawFrame(0x0806, arp(1, "127.0.0.1", GUEST.gateway), "ff:ff:ff:ff:ff:ff"),
      toRawFrame(0x88b5, Buffer.from("anything")),
    )
    await play.settle()
    expect(await run("ip", "-n", slot.namespace, "neigh", "show", "dev", "tap0")).toBe(before)
    expect(await run("ip", "neigh", "show", "to", linkAddress)).toBe("")
    expect(await run("ip", "neigh", "show", "dev", play.link)).not.toContain(GUEST.mac)
  })
})

test("Whatever a guest has sent, it left its slot under the slot's address", async () => {
  const sources = (await play.left.seen()).map((text) => text.split(" ")[1])
  expect(new Set(sources)).toEqual(new Set([play.slot.address]))
})
