import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { RESOLVER_PORT } from "../../src/net/policy.ts"
import { GUEST } from "../../src/net/slot.ts"
import { toQuery, TYPES } from "./dns-messages.ts"
import { openPlayground, type Playground } from "./playground.ts"
import { openRecorder } from "./recorder.ts"
import { run } from "./slots-under-test.ts"

let play: Playground
beforeAll(async () => {
  play = await openPlayground({ newConnectionsPerSecond: 10_000 })
})
afterAll(() => play?.[Symbol.asyncDispose]())

const guestRecorder = () => openRecorder(play.guest.run, "eth0")
const QUESTION = toQuery(1, "www.example.org", TYPES.A).toString("hex")

describe("A guest is reached", () => {
  test("by its host at every TCP port of its loopback, and by the agent's at its own address", async () => {
    const { guest, host, slot } = play
    for (const port of [80, 65_535]) {
      await guest.listen({ host: "127.0.0.1", port })
      expect(await host.tcp({ host: slot.address, port })).toBe(`tcp ${GUEST.gateway} to 127.0.0.1:${port}`)
    }
    await guest.listen({ host: GUEST.address, port: GUEST.agentPort })
    expect(await host.tcp({ host: slot.address, port: GUEST.agentPort })).toBe(
      `tcp ${GUEST.gateway} to ${GUEST.address}:${GUEST.agentPort}`,
    )
    expect(await host.tcp({ host: slot.address, port: 81 })).toBe("ECONNREFUSED")
  })

  test("by no other user of its host than root", async () => {
    const { guest, slot } = play
    const port = await guest.listen({ host: "127.0.0.1", port: 0 })
    const connect = ["bash", "-c", `exec 3<>/dev/tcp/${slot.address}/${port}; head -c3 <&3`]
    expect(await run("setpriv", ...connect)).toBe("tcp")
    const nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"]
    await expect(run("setpriv", ...nobody, ...connect)).rejects.toThrow("Connection refused")
  })

  test("by its host neither by UDP nor by ICMP", async () => {
    const { guest, host, slot } = play
    const port = await guest.listen({ host: "127.0.0.1", port: 0 })
    await guest.listen({ host: GUEST.address, port })
    await using recorder = await guestRecorder()
    await host.send({ host: slot.address, port })
    await run("perl", "-MSocket", "-e", PING, slot.address)
    expect(await host.tcp({ host: slot.address, port })).toBe(`tcp ${GUEST.gateway} to 127.0.0.1:${port}`)
    expect((await guest.heard()).filter((text) => text.endsWith(`:${port}`))).toEqual([
      `tcp ${GUEST.gateway} to 127.0.0.1:${port}`,
    ])
    expect((await recorder.seen()).filter((text) => !text.startsWith("tcp"))).toEqual([])
  })

  test("by nobody else: not at its slot's address, not at its own, not at the port that a connection of its own comes from", async () => {
    const { guest, internet, slot, linkAddress } = play
    const port = await guest.listen({ host: "127.0.0.1", port: 0 })
    await guest.listen({ host: GUEST.address, port })
    await internet.ip(`route add ${GUEST.address}/32 via ${internet.hostAddress}`)
    await using recorder = await guestRecorder()
    const connections = [slot.address, GUEST.address].map((host) => internet.tcp({ host, port }))
    for (const host of [slot.address, GUEST.address]) await internet.send({ host, port })
    // Its host refuses these, which is an answer that can be waited for.
    expect(await internet.tcp({ host: internet.hostAddress, port })).toBe("ECONNREFUSED")
    expect(await internet.tcp({ host: linkAddress, port: RESOLVER_PORT })).toBe("ECONNREFUSED")
    const before = play.nameServer.asked.length
    await internet.send({ host: linkAddress, port: RESOLVER_PORT, message: QUESTION })
    expect(await internet.tcp({ host: internet.hostAddress, port })).toBe("ECONNREFUSED")
    await play.settle()
    expect(play.nameServer.asked).toHaveLength(before)
    expect((await guest.heard()).filter((text) => text.endsWith(`:${port}`))).toEqual([])
    expect(await recorder.seen()).toEqual([`udp ${internet.address} to ${GUEST.address}`])
    expect(connections).toHaveLength(2)
  })
})

/** An echo request to the address that is its argument. */
const PING = `socket(my $socket, 2, 3, 1) or die $!;
send($socket, pack("C2 n3", 8, 0, 0xf7ff, 0, 0), 0, sockaddr_in(0, inet_aton($ARGV[0]))) or die $!;`

test("Whatever a guest has sent, it left its slot under the slot's address", async () => {
  const sources = (await play.left.seen()).map((text) => text.split(" ")[1])
  expect(new Set(sources)).toEqual(new Set([play.slot.address]))
})
