/** HTTP/2's frames, written byte by byte: what no client library would send. RFC 9113, 4.1; headers as RFC 7541, 6.2.2 has them plainest. */
import { connect, type TLSSocket } from "node:tls"
import { once } from "node:events"
import type { TestEdge } from "../test-edge.ts"

export const [DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION] = [0, 1, 3, 4, 6, 7, 9]
export const [END_STREAM, END_HEADERS] = [1, 4]

export const frame = (type: number, flags: number, stream: number, payload: Uint8Array | string = ""): Buffer => {
  const body = Buffer.from(payload as string, "latin1")
  const head = Buffer.alloc(9)
  head.writeUIntBE(body.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, body])
}

export type Field = readonly [name: string, value: string]

export const block = (fields: readonly Field[]): Buffer =>
  Buffer.concat(fields.map(([name, value]) => Buffer.concat([Buffer.from([0]), literal(name), literal(value)])))

/** A string without Huffman's code; its length takes more bytes from 127 on. */
const literal = (text: string): Buffer => {
  const bytes = Buffer.from(text, "latin1")
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes])
  const length = [127]
  let rest = bytes.length - 127
  for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128)
  return Buffer.concat([Buffer.from([...length, rest]), bytes])
}

export interface Http2Connection extends TLSSocket {
  /** Of each frame that came: its type, its stream, and its first four bytes as a number. */
  readonly frames: { type: number; stream: number; code: number }[]
}

/** A connection that has agreed on HTTP/2 and said nothing but its preface and empty settings. */
export const openHttp2Connection = async (edge: TestEdge): Promise<Http2Connection> => {
  const socket = connect({
    host: "127.0.0.1",
    port: edge.edge.port,
    servername: edge.vm.name,
    ca: edge.ca,
    ALPNProtocols: ["h2"],
  })
  const frames: Http2Connection["frames"] = []
  let received = Buffer.alloc(0)
  socket
    .on("error", () => {})
    .on("data", (data: Buffer) => {
      received = Buffer.concat([received, data])
      while (received.length >= 9 && received.length >= 9 + received.readUIntBE(0, 3)) {
        const end = 9 + received.readUIntBE(0, 3)
        const payload = received.subarray(9, end)
        const at = received[3] === GOAWAY ? 4 : 0
        frames.push({
          type: received[3] ?? 0,
          stream: received.readUInt32BE(5),
          code: payload.length >= at + 4 ? payload.readUInt32BE(at) : 0,
        })
        received = received.subarray(end)
      }
    })
  await once(socket, "secureConnect")
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
  socket.write(frame(SETTINGS, 0, 0))
  return Object.assign(socket, { frames })
}

/** A request with token and port; `fields` come behind those of its own name's, which they replace. */
export const requestFields = (edge: TestEdge, port: number, fields: readonly Field[] = []): Field[] => {
  const own: Field[] = [
    [":method", "GET"],
    [":scheme", "https"],
    [":path", "/"],
    [":authority", edge.vm.name],
    ["x-aws-proxy-auth", edge.vm.token],
    ["x-aws-proxy-port", String(port)],
  ]
  const given = new Set(fields.map(([name]) => name))
  const all = [...own.filter(([name]) => !given.has(name)), ...fields]
  return [...all.filter(([name]) => name.startsWith(":")), ...all.filter(([name]) => !name.startsWith(":"))]
}
