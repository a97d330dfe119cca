/** Notes every packet that arrives on one interface of a namespace or of the host, before any rule of anybody's is asked. */
import { randomBytes } from "node:crypto"
import { expect } from "vitest"
import { eventually } from "../fixtures/eventually.ts"

export interface Recorder {
  /** `udp 10.0.0.1 to 10.0.0.2` for what was seen, each once; ICMP by its type, and `ipv6` for anything of that. */
  seen(): Promise<string[]>
  /** Resolves when this was seen. */
  until(packet: string): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Begins to note; `run` runs a program where the interface is. The caller disposes it. */
export const openRecorder = async (
  run: (command: string, ...args: string[]) => Promise<string>,
  device: string,
): Promise<Recorder> => {
  const table = `torpor_test_${randomBytes(4).toString("hex")}`
  await run(
    "nft",
    `table inet ${table} {
      set packets { type inet_proto . ipv4_addr . ipv4_addr; flags dynamic; size 65535; }
      set messages { type icmp_type . ipv4_addr . ipv4_addr; flags dynamic; size 65535; }
      set others { type nf_proto; flags dynamic; size 16; }
      chain arriving {
        type filter hook prerouting priority -450; policy accept;
        iifname != "${device}" accept
        meta nfproto ipv6 update @others { meta nfproto } accept
        ip protocol icmp update @messages { icmp type . ip saddr . ip daddr } accept
        meta nfproto ipv4 update @packets { ip protocol . ip saddr . ip daddr }
      }
    }`,
  )
  const elements = (listing: string) =>
    [...listing.matchAll(/elements = \{([^}]*)\}/g)].flatMap(([, text = ""]) =>
      text.split(",").map((element) => element.trim().replace(" . ", " ").replace(" . ", " to ")),
    )
  const seen = async () => elements(await run("nft", "list", "table", "inet", table)).toSorted()
  return {
    seen,
    until: (packet) => eventually(async () => expect(await seen()).toContain(packet), { interval: 1 }),
    async [Symbol.asyncDispose]() {
      await run("nft", "delete", "table", "inet", table)
    },
  }
}
