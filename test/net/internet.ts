/**
 * The internet as a guest may see it, without a packet that leaves this machine: a namespace behind a veth, where everything that the
 * guest's link sends is routed, whatever its address. Only the host's own addresses are nearer, as they are to any router.
 */
import { linkPrefix } from "../../src/net/policy.ts"
import type { Slot } from "../../src/net/slot.ts"
import { openPeer, type Peer } from "./peer.ts"
import { openRecorder, type Recorder } from "./recorder.ts"
import { run } from "./slots-under-test.ts"

export interface Internet extends Peer {
  /** The host's address towards it: guests' connections come from here. */
  readonly hostAddress: string
  readonly hostLink: string
  /** Where it listens. */
  readonly address: string
  /** The broadcast address of the link between the host and it. */
  readonly broadcast: string
  /** Two private addresses of its own, in 10.253.0.0/16 and 10.254.0.0/16, where it can listen and answer. */
  readonly privateAddresses: readonly [string, string]
  /** What came out of the host. */
  readonly arrived: Recorder
}

/** Opens it for one slot; no two slots of this machine have an address of it in common. The caller disposes it. */
export const openInternet = async (hostId: string, slot: Slot): Promise<Internet> => {
  const mark = slot.namespace.replace("torpor-", "")
  const hostLink = `i${mark}`
  const [block, third] = [4 * (slot.index % 64), slot.index % 256]
  const at = (last: number) => `203.0.113.${block + last}`
  const privateAddresses = [`10.253.${third}.1`, `10.254.${third}.1`] as const
  const table = String(20_000 + slot.index)
  const rule = ["iif", `${linkPrefix(hostId)}${slot.index}`, "lookup", table]
  const opened = new AsyncDisposableStack()
  try {
    const peer = opened.use(await openPeer(`internet-${mark}`))
    await run("ip", "link", "add", hostLink, "type", "veth", "peer", "name", "eth0", "netns", peer.namespace)
    // With its namespace it would go only after a while, and its routes with it.
    opened.defer(async () => void (await run("ip", "link", "del", hostLink)))
    await run("ip", "addr", "add", `${at(1)}/30`, "broadcast", at(3), "dev", hostLink)
    await run("ip", "link", "set", hostLink, "up")
    await peer.ip(
      `addr add ${at(2)}/30 dev eth0`,
      "link set eth0 up",
      `route add default via ${at(1)}`,
      ...privateAddresses.map((address) => `addr add ${address}/32 dev lo`),
    )
    const arrived = opened.use(await openRecorder(peer.run, "eth0"))
    // Answers come back by a way that the host knows.
    for (const address of privateAddresses) await run("ip", "route", "add", address, "via", at(2))
    await run("ip", "route", "add", "default", "via", at(2), "table", table)
    await run("ip", "rule", "add", ...rule)
    // A rule outlives the link that it names.
    opened.defer(async () => void (await run("ip", "rule", "del", ...rule)))
    const held = opened.move()
    return {
      ...peer,
      hostAddress: at(1),
      hostLink,
      address: at(2),
      broadcast: at(3),
      privateAddresses,
      arrived,
      [Symbol.asyncDispose]: () => held.disposeAsync(),
    }
  } catch (error) {
    await opened.disposeAsync()
    throw error
  }
}
