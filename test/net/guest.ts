/** One who plays the guest of a slot without a virtual machine: a namespace whose eth0 is wired to the slot's TAP, as QEMU would. */
import { once } from "node:events"
import type { ChildProcess } from "node:child_process"
import { GUEST, type Slot } from "../../src/net/slot.ts"
import { endChild, openPeer, spawnIn, type Peer } from "./peer.ts"

/**
 * Opens the slot's TAP, then goes over to the guest's namespace with it, makes eth0 there, and carries frames between both. What is
 * written to it, a frame in hexadecimal digits a line, goes to the slot as well. In Perl, which every Debian has: Node opens no TAP.
 */
const WIRE = `
use strict; $| = 1; $^F = 255;
my ($script, $guest, $fd) = @ARGV;
sub tap { my $name = shift; sysopen(my $tap, "/dev/net/tun", 2) or die "tun: $!"; my $request = pack("a16 S x22", $name, 0x1002);
  ioctl($tap, 0x400454ca, $request) or die "$name: $!"; $tap }
unless (defined $fd) { my $tap = tap("tap0");
  exec "nsenter", "--net=/run/netns/$guest", "perl", "-e", $script, $script, $guest, fileno($tap); die "nsenter: $!" }
open(my $slot, "+<&=", $fd) or die "fd: $!";
my $eth = tap("eth0");
print "ready\\n";
my ($frame, $line, $lines) = ("", "", "");
for (;;) {
  my $ready = ""; vec($ready, fileno($_), 1) = 1 for $slot, $eth, \\*STDIN;
  select($ready, undef, undef, undef);
  syswrite($eth, $frame) if vec($ready, fileno($slot), 1) && sysread($slot, $frame, 65536);
  syswrite($slot, $frame) if vec($ready, fileno($eth), 1) && sysread($eth, $frame, 65536);
  if (vec($ready, fileno(STDIN), 1)) { sysread(STDIN, $lines, 65536, length $lines) or exit 0;
    syswrite($slot, pack("H*", $1)) while $lines =~ s/^(\\w*)\\n// }
}
`

export interface Guest extends Peer {
  /** Puts frames on the wire to the slot, as they are, one after the other. */
  inject(...frames: Buffer[]): void
}

/** Wires a guest to a slot, with the names and addresses that guests have; the caller disposes it before the slot. */
export const openGuest = async (slot: Slot): Promise<Guest> => {
  const peer = await openPeer(`guest-${slot.namespace}`)
  let wire: ChildProcess | undefined
  try {
    wire = spawnIn(slot.namespace, "perl", "-e", WIRE, WIRE, peer.namespace)
    await Promise.race([
      once(wire.stdout ?? wire, "data"),
      once(wire, "exit").then(() => Promise.reject(new Error("The wire could not be laid"))),
    ])
    // As the guest's init does it, but that its kernel knows IPv6: a guest may be anything.
    await peer.ip(
      `link set eth0 address ${GUEST.mac}`,
      "link set eth0 up",
      `addr add ${GUEST.address}/${GUEST.prefix} dev eth0`,
      `route add default via ${GUEST.gateway}`,
      `neigh add ${GUEST.gateway} lladdr ${GUEST.gatewayMac} nud permanent dev eth0`,
    )
    await peer.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet")
  } catch (error) {
    if (wire !== undefined) await endChild(wire)
    await peer[Symbol.asyncDispose]()
    throw error
  }
  const laid = wire
  return {
    ...peer,
    inject: (...frames) => void laid.stdin?.write(frames.map((frame) => `${frame.toString("hex")}\n`).join("")),
    async [Symbol.asyncDispose]() {
      await endChild(laid)
      await peer[Symbol.asyncDispose]()
    },
  }
}
