/**
 * What guests may reach, as nftables rules: one table on the host that decides, and one in each namespace that maps addresses and lets
 * nothing out under another name. Only tables of our own are written; other tables' rules are left alone, and may refuse more.
 */
import { GUEST } from "./slot.ts"

export interface EgressPolicy {
  /** Ranges inside the refused ones that guests may reach all the same: a mirror, a proxy. */
  readonly allow: readonly { readonly cidr: string; readonly ports?: readonly number[] }[]
  /** New connections a second that one guest may open, after a burst of as many. */
  readonly newConnectionsPerSecond: number
  /** Connections that one guest may have open. */
  readonly maxConnections: number
}

/** Where a namespace's resolver requests arrive on the host's end of its link. */
export const RESOLVER_PORT = 1053

/** What is never the internet. All IPv6 is refused beside it. */
export const REFUSED = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "224.0.0.0/4",
  "240.0.0.0/4",
]

/** Every link of a host's slots begins with this. */
export const linkPrefix = (hostId: string) => `t${hostId.slice(0, 8)}-`
export const hostTable = (hostId: string) => `torpor_${hostId.slice(0, 8)}`

/** Removes the host's table, if it is there. */
export const noHostRules = (hostId: string): string => {
  const table = hostTable(hostId)
  return `table inet ${table}\ndelete table inet ${table}\n`
}

const allowRule = ({ cidr, ports }: EgressPolicy["allow"][number]) =>
  ports === undefined ? `ip daddr ${cidr} accept` : `ip daddr ${cidr} tcp dport { ${ports.join(", ")} } accept`

/** The host's table: replaced whole, so that writing it twice is writing it once. */
export const hostRules = (hostId: string, range: string, policy: EgressPolicy): string => {
  const table = hostTable(hostId)
  const links = `"${linkPrefix(hostId)}*"`
  return `
table inet ${table}
delete table inet ${table}
table inet ${table} {
  # At once for TCP; the kernel says the other only so often.
  chain refuse {
    meta l4proto tcp reject with tcp reset
    reject with icmp type admin-prohibited
  }

  # To the host itself, every address of it: nothing but the resolver, which listens on the link.
  chain input {
    type filter hook input priority filter - 10; policy accept;
    # And that is reached over its own link alone: not from a neighbour's, nor by whoever takes this host for a router.
    ip daddr ${range} meta l4proto { tcp, udp } th dport ${RESOLVER_PORT} fib daddr . iif type != local goto refuse
    iifname != ${links} accept
    meta nfproto ipv6 drop
    ct state invalid drop
    ct state established,related accept
    ip daddr ${range} meta l4proto { tcp, udp } th dport ${RESOLVER_PORT} accept
    goto refuse
  }

  chain forward {
    type filter hook forward priority filter - 10; policy accept;
    iifname != ${links} oifname != ${links} accept
    meta nfproto ipv6 drop
    ct state invalid drop
    ct state established,related accept
    # Into a guest only the host itself connects, and that isn't forwarded.
    oifname ${links} drop
    ${policy.allow.map(allowRule).join("\n    ")}
    # A set without a name: of a named one that nft 1.1.3 wrote, in a container with this network say, 1.0.6 dies at every call.
    ip daddr { ${REFUSED.join(", ")} } goto refuse
    fib daddr type { local, broadcast, multicast, anycast } drop
  }

  # Guests are reached through the edge: of this host's users only root, as whom the daemon runs, connects past it.
  chain output {
    type filter hook output priority filter - 10; policy accept;
    oifname ${links} meta skuid != 0 goto refuse
  }

  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${range} oifname != ${links} masquerade
  }
}
`
}

/** A namespace's table: the same in all of them but for the link's two addresses. */
export const slotRules = ({ host, inside }: { host: string; inside: string }, policy: EgressPolicy): string => `
table ip torpor {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    iifname "up0" ip daddr ${inside} tcp dport ${GUEST.agentPort} dnat to ${GUEST.address}
    # To the guest's loopback, by way of its eth0: an application that listens there alone is reached too.
    iifname "up0" ip daddr ${inside} meta l4proto tcp dnat to 127.0.0.1
    iifname "tap0" ip daddr ${GUEST.resolver} meta l4proto { tcp, udp } th dport 53 dnat to ${host}:${RESOLVER_PORT}
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "tap0" masquerade
    oifname "up0" masquerade
  }
  chain refuse {
    meta l4proto tcp reject with tcp reset
    reject with icmp type admin-prohibited
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    iifname "tap0" ether saddr != ${GUEST.mac} drop
    # What belongs to no connection has no other name to leave under.
    ct state invalid drop
    ct state established,related accept
    iifname "up0" oifname "tap0" ip saddr ${host} accept
    iifname "tap0" ip saddr != ${GUEST.address} drop
    iifname "tap0" ip daddr ${host} ct status & dnat == 0 goto refuse
    # The resolver's are counted too: each has a place in the host's memory. A connection counts once, however much is sent before an answer.
    iifname "tap0" ct status & confirmed == 0 ct count over ${policy.maxConnections} goto refuse
    iifname "tap0" ct status & confirmed == 0 limit rate over ${policy.newConnectionsPerSecond}/second burst ${policy.newConnectionsPerSecond} packets goto refuse
    iifname "tap0" oifname "up0" accept
  }
  # Nobody talks to the namespace itself.
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
  }
}
table ip6 torpor {
  chain input { type filter hook input priority filter; policy drop; }
  chain forward { type filter hook forward priority filter; policy drop; }
  chain output { type filter hook output priority filter; policy drop; }
}
`
