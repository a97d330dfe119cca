/**
 * One place on this host for a VM: a network namespace with its TAP, an address pair, and a uid of its own.
 * The guest sees the same names and addresses in every slot, so a snapshot can be restored in any.
 */
export interface Slot {
  /** Claimed host-wide under /run/torpor; the lowest free one first. */
  readonly index: number
  /** Carries the first eight digits of the host id. */
  readonly namespace: string
  /** The name of the TAP inside the namespace, the same in every slot. */
  readonly tap: string
  /** Under which the VMM process runs. */
  readonly uid: number
  /** Where the host reaches the guest: any TCP port but {@link GUEST.agentPort} arrives at the same port of the guest's loopback. */
  readonly address: string
}

/** What every guest sees. */
export const GUEST = {
  address: "172.31.255.2",
  prefix: 30,
  gateway: "172.31.255.1",
  mac: "02:54:4f:52:50:02",
  gatewayMac: "02:54:4f:52:50:01",
  resolver: "169.254.169.253",
  /** Where the agent listens on the guest's own address (not on its loopback). */
  agentPort: 1,
} as const
