/** The name servers that questions are forwarded to. */
import { readFile } from "node:fs/promises"
import { isIP } from "node:net"
import { OperatorError } from "../errors.ts"

export interface NameServer {
  readonly address: string
  readonly port: number
}

/** `address`, `address:port` or `[address]:port`, IPv4 or IPv6; throws an {@link OperatorError} on anything else: a name would have to be looked up. */
export const parseNameServer = (text: string): NameServer => {
  if (isIP(text) !== 0) return { address: text, port: 53 }
  const [, six, four = "", portText] = /^(?:\[(.*)\]|([\d.]+)):(\d{1,5})$/.exec(text) ?? []
  const [address, port] = [six ?? four, Number(portText)]
  if (isIP(address) !== (six === undefined ? 4 : 6) || !(port >= 1 && port <= 65_535))
    throw new OperatorError(`'${text}' is no name server (address, address:port or [address]:port).`)
  return { address, port }
}

/** The host's own, as /etc/resolv.conf has them now. What isn't an address there is passed over, as the C library does. */
export const hostNameServers = async (path = "/etc/resolv.conf"): Promise<NameServer[]> => {
  const text = await readFile(path, "utf8").catch(() => "")
  return [...text.matchAll(/^nameserver\s+(\S+)/gm)].flatMap(([, address = ""]) =>
    isIP(address) === 0 ? [] : [{ address, port: 53 }],
  )
}
