/** Ethernet frames as a guest's kernel would never send them. */
import { GUEST } from "../../src/net/slot.ts"

export interface FrameParts {
  readonly sourceMac?: string
  readonly source?: string
  readonly destination: string
  readonly protocol?: number
  /** What follows the IP header; a datagram to `port` when it is left out. */
  readonly body?: Buffer
  readonly port?: number
}

export const [ICMP, TCP] = [1, 6]
const UDP = 17

const macBytes = (mac: string) => Buffer.from(mac.replaceAll(":", ""), "hex")
const addressBytes = (address: string) => Buffer.from(address.split(".").map(Number))

/** The Internet checksum (RFC 1071). */
const checksum = (bytes: Buffer): number => {
  const even = bytes.length % 2 === 0 ? bytes : Buffer.concat([bytes, Buffer.from([0])])
  let sum = 0
  for (let at = 0; at < even.length; at += 2) sum += even.readUInt16BE(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

/** A datagram; without a checksum, which is optional. */
const toDatagram = (port: number): Buffer => {
  const header = Buffer.alloc(8)
  header.writeUInt16BE(4000, 0)
  header.writeUInt16BE(port, 2)
  header.writeUInt16BE(8, 4)
  return header
}

/** An ICMP message: 8 is an echo request, 3 says that something could not be reached. */
export const toIcmp = (type: number, code: number, rest: Buffer = Buffer.alloc(4)): Buffer => {
  const message = Buffer.concat([Buffer.from([type, code, 0, 0]), rest])
  message.writeUInt16BE(checksum(message), 2)
  return message
}

export const FLAGS = { FIN: 1, SYN: 2, RST: 4, ACK: 16 } as const

/** A TCP segment without data. */
export const toSegment = (
  { source = GUEST.address, destination }: Pick<FrameParts, "source" | "destination">,
  port: number,
  flags: number,
  damage = 0,
): Buffer => {
  const segment = Buffer.alloc(20)
  segment.writeUInt16BE(4000, 0)
  segment.writeUInt16BE(port, 2)
  segment.writeUInt32BE(1000, 4)
  segment[12] = 5 << 4
  segment[13] = flags
  segment.writeUInt16BE(1024, 14)
  const pseudo = Buffer.concat([addressBytes(source), addressBytes(destination), Buffer.from([0, TCP, 0, 20])])
  segment.writeUInt16BE(checksum(Buffer.concat([pseudo, segment])) ^ damage, 16)
  return segment
}

/** An IP packet; from the guest's own address when it isn't said. */
export const toPacket = ({
  source = GUEST.address,
  destination,
  protocol = UDP,
  port = 9,
  body = toDatagram(port),
}: Omit<FrameParts, "sourceMac">): Buffer => {
  const header = Buffer.alloc(20)
  header[0] = 0x45
  header.writeUInt16BE(20 + body.length, 2)
  header[8] = 64
  header[9] = protocol
  addressBytes(source).copy(header, 12)
  addressBytes(destination).copy(header, 16)
  header.writeUInt16BE(checksum(header), 10)
  return Buffer.concat([header, body])
}

/** A frame to the gateway; from the guest's own MAC when it isn't said. */
export const toFrame = ({ sourceMac = GUEST.mac, ...packet }: FrameParts): Buffer =>
  Buffer.concat([macBytes(GUEST.gatewayMac), macBytes(sourceMac), Buffer.from([0x08, 0x00]), toPacket(packet)])

/** A frame that carries no IPv4. */
export const toRawFrame = (type: number, body: Buffer, destinationMac: string = GUEST.gatewayMac): Buffer =>
  Buffer.concat([macBytes(destinationMac), macBytes(GUEST.mac), Buffer.from([type >> 8, type & 255]), body])

/** An ICMPv6 message from a link-local address, with what makes a router or a neighbour answer. */
export const toIcmp6 = (destination: string, type: number): Buffer => {
  const [before = "", after = ""] = destination.split("::").map((half) =>
    half
      .split(":")
      .filter((group) => group !== "")
      .map((group) => group.padStart(4, "0"))
      .join(""),
  )
  const target = Buffer.from(before + "0".repeat(32 - before.length - after.length) + after, "hex")
  const source = Buffer.from("fe800000000000000000000000000002", "hex")
  const message = Buffer.from([type, 0, 0, 0, 0, 0, 0, 0])
  const length = Buffer.from([0, 0, 0, message.length, 0, 0, 0, 58])
  message.writeUInt16BE(checksum(Buffer.concat([source, target, length, message])), 2)
  return Buffer.concat([Buffer.from([0x60, 0, 0, 0, 0, message.length, 58, 255]), source, target, message])
}
