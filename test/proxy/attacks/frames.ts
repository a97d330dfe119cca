/** HTTP/2's frames, written byte by byte: what no client library would send. RFC 9113, 4.1; headers as RFC 7541, 6.2.2 has them plainest. */
import { once } from "node:events"
import { connect as connectPlain, type Socket } from "node:net"
import { connect } from "node:tls"
import type { EdgeVm, TestEdge } from "../test-edge.ts"

export const [DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION] = [0, 1, 3, 4, 6, 7, 8, 9]
export const [END_STREAM, END_HEADERS, ACK] = [1, 4, 1]
/** What a setting is about. */
export const [HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE] = [1, 4]
/** What every peer takes. */
const MAX_FRAME = 16_384

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

/** A field that both sides keep, in the first place behind those that are always there: RFC 7541, 6.2.1. */
export const kept = (name: string, value: string): Buffer =>
  Buffer.concat([Buffer.from([0x40]), literal(name), literal(value)])
/** So many times the one that was kept last, each of them one byte: 6.1. */
export const again = (times: number): Buffer => Buffer.alloc(times, 0x80 | 62)

/** A block as one HEADERS frame and as many CONTINUATIONs as it needs. */
export const headerFrames = (flags: number, stream: number, bytes: Buffer): Buffer => {
  const parts = Array.from({ length: Math.ceil(bytes.length / MAX_FRAME) }, (_, index) =>
    bytes.subarray(index * MAX_FRAME, (index + 1) * MAX_FRAME),
  )
  return Buffer.concat(
    parts.map((part, index) => {
      const end = index === parts.length - 1 ? END_HEADERS : 0
      return index === 0 ? frame(HEADERS, flags | end, stream, part) : frame(CONTINUATION, end, stream, part)
    }),
  )
}

/** Settings of 16 bits for what, 32 for how much each. */
export const settings = (...values: readonly (readonly [id: number, value: number])[]): Buffer =>
  frame(
    SETTINGS,
    0,
    0,
    Buffer.concat(
      values.map(([id, value]) => {
        const one = Buffer.alloc(6)
        one.writeUInt16BE(id, 0)
        one.writeUInt32BE(value, 2)
        return one
      }),
    ),
  )

/** Where an edge is, and whose token is sent. */
export interface EdgeAt {
  readonly edge: Pick<TestEdge["edge"], "port">
  readonly vm: Pick<EdgeVm, "name" | "token">
  readonly ca: string
}

export interface Http2Connection extends Socket {
  /** Of each frame that came: its type, flags and stream, and its first four bytes as a number. */
  readonly frames: { type: number; flags: number; stream: number; code: number }[]
}

/** A connection that has agreed on HTTP/2 and said nothing but its preface and its settings. */
export const openHttp2Connection = async (edge: EdgeAt, first = settings()): Promise<Http2Connection> => {
  const socket = connect({
    host: "127.0.0.1",
    port: edge.edge.port,
    servername: edge.vm.name,
    ca: edge.ca,
    ALPNProtocols: ["h2"],
  })
  await once(socket, "secureConnect")
  return speak(socket, first)
}
/** The same in clear, to a server of the test's own. */
export const openPlainHttp2Connection = async (port: number, first = settings()): Promise<Http2Connection> => {
  const socket = connectPlain(port, "127.0.0.1")
  await once(socket, "connect")
  return speak(socket, first)
}

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

/** Takes bytes as they come, and hands on each frame that is whole. */
export const readFrames = (onFrame: (frame: Frame) => void) => {
  let received = Buffer.alloc(0)
  return (data: Buffer): void => {
    received = Buffer.concat([received, data])
    while (received.length >= 9 && received.length >= 9 + received.readUIntBE(0, 3)) {
      const end = 9 + received.readUIntBE(0, 3)
      const [type = 0, flags = 0] = received.subarray(3, 5)
      onFrame({ type, flags, stream: received.readUInt32BE(5), payload: received.subarray(9, end) })
      received = received.subarray(end)
    }
  }
}

const speak = (socket: Socket, first: Buffer): Http2Connection => {
  const frames: Http2Connection["frames"] = []
  const read = readFrames(({ type, flags, stream, payload }) => {
    const at = type === GOAWAY ? 4 : 0
    frames.push({ type, flags, stream, code: payload.length >= at + 4 ? payload.readUInt32BE(at) : 0 })
  })
  socket.on("error", () => {}).on("data", read)
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
  socket.write(first)
  return Object.assign(socket, { frames })
}

/** A request with token and port; `fields` come behind those of its own name's, which they replace. */
export const requestFields = ({ vm }: Pick<EdgeAt, "vm">, port: number, fields: readonly Field[] = []): Field[] => {
  const own: Field[] = [
    [":method", "GET"],
    [":scheme", "https"],
    [":path", "/"],
    [":authority", vm.name],
    ["x-aws-proxy-auth", vm.token],
    ["x-aws-proxy-port", String(port)],
  ]
  const given = new Set(fields.map(([name]) => name))
  const all = [...own.filter(([name]) => !given.has(name)), ...fields]
  return [...all.filter(([name]) => name.startsWith(":")), ...all.filter(([name]) => !name.startsWith(":"))]
}
