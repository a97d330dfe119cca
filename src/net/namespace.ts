/** One namespace with its link, TAP and rules, made by one shell with all its calls (22 ms; a process for each takes five times that). */
import { runCommand } from "../command.ts"
import { slotRules, type EgressPolicy } from "./policy.ts"
import { GUEST } from "./slot.ts"

export interface NamespacePlan {
  readonly name: string
  readonly link: string
  readonly uid: number
  readonly host: string
  readonly inside: string
}

const SCRIPT = `set -e
namespace=$1 link=$2
# What a crash left under this name is not what we want.
ip netns del "$namespace" 2>/dev/null || :
ip link del "$link" 2>/dev/null || :
ip netns add "$namespace"
trap 'ip netns del "$namespace"' EXIT
ip link add "$link" type veth peer name up0 netns "$namespace"
printf '%s' "$3" | ip -batch -
printf '%s' "$4" | ip -n "$namespace" -batch -
nsenter --net="/run/netns/$namespace" sh -c '
  echo 1 > /proc/sys/net/ipv4/ip_forward
  for link in up0 tap0; do
    echo 1 > /proc/sys/net/ipv4/conf/$link/route_localnet
    echo 0 > /proc/sys/net/ipv4/conf/$link/rp_filter
    echo 1 > /proc/sys/net/ipv4/conf/$link/arp_ignore
  done
  printf "%s" "$1" | nft -f -
' sh "$5"
trap - EXIT
`

const TIMEOUT_MS = 30_000

/** Makes the namespace; a failed try leaves none. It isn't cut off in the middle: what the shell has just started would go on without it. */
export const makeNamespace = async (plan: NamespacePlan, policy: EgressPolicy): Promise<void> => {
  const outside = `addr add ${plan.host}/31 dev ${plan.link}
link set ${plan.link} up
`
  // lo stays down: with it the kernel would keep 127.0.0.1 for itself, and here that is the guest's.
  const within = `link set up0 up
addr add ${plan.inside}/31 dev up0
route add default via ${plan.host}
tuntap add tap0 mode tap user ${plan.uid}
link set tap0 address ${GUEST.gatewayMac}
link set tap0 up
addr add ${GUEST.gateway}/${GUEST.prefix} dev tap0
neigh add ${GUEST.address} lladdr ${GUEST.mac} nud permanent dev tap0
neigh add 127.0.0.1 lladdr ${GUEST.mac} nud permanent dev tap0
route add 127.0.0.1/32 dev tap0 src ${GUEST.gateway}
`
  await runCommand("sh", ["-c", SCRIPT, "sh", plan.name, plan.link, outside, within, slotRules(plan, policy)], {
    signal: AbortSignal.timeout(TIMEOUT_MS),
  })
}

// The link's end outside goes with the one inside, but only after a while, and not while a process holds the namespace.
const REMOVAL = `
ip link del "$2" 2>/dev/null || ! ip link show dev "$2" >/dev/null 2>&1 || { echo "$2 stays"; exit 1; }
ip netns del "$1" 2>/dev/null || [ ! -e "/run/netns/$1" ] || { echo "$1 stays"; exit 1; }
`

/** Removes a namespace with all that is in it, or what a crash left of it; does nothing when there is none. */
export const removeNamespace = async ({ name, link }: Pick<NamespacePlan, "name" | "link">): Promise<void> => {
  await runCommand("sh", ["-c", REMOVAL, "sh", name, link], { signal: AbortSignal.timeout(TIMEOUT_MS) })
}
