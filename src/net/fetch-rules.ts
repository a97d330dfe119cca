/**
 * What the host's own fetching of strangers' images may reach, as nftables rules: an image's author chooses the address and its registry
 * the redirects, so it is the internet, as from a guest, and what the operator has named. It is known by its user id.
 */
import { REFUSED } from "./policy.ts"

export interface FetchTarget {
  /** IPv4. */
  readonly address: string
  readonly port: number
}

export const fetchTable = (hostId: string) => `torpor_${hostId.slice(0, 8)}_fetch`

/** The table: replaced whole, so that writing it twice is writing it once. */
export const fetchRules = (
  hostId: string,
  uid: number,
  nameServers: readonly FetchTarget[],
  allowed: readonly FetchTarget[],
): string => {
  const table = fetchTable(hostId)
  return `
table inet ${table}
delete table inet ${table}
table inet ${table} {
  chain refuse {
    meta l4proto tcp reject with tcp reset
    reject with icmpx type admin-prohibited
  }
  chain fetch {
    ${nameServers.map(({ address, port }) => `ip daddr ${address} meta l4proto { tcp, udp } th dport ${port} accept`).join("\n    ")}
    ${allowed.map(({ address, port }) => `ip daddr ${address} tcp dport ${port} accept`).join("\n    ")}
    meta nfproto ipv6 goto refuse
    ip daddr { ${REFUSED.join(", ")} } goto refuse
    fib daddr type { local, broadcast, multicast, anycast } goto refuse
  }
  chain output {
    type filter hook output priority filter - 10; policy accept;
    # Said so: a packet whose socket nobody has accepted yet has no user at all.
    meta skuid ${uid} goto fetch
  }
}
`
}
