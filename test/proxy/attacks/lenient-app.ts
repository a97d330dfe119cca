import { openRawApp, type RawApp } from "../raw-app.ts"
import { readMessage, type Dialect, type Message } from "./dialect.ts"

export interface LenientApp extends RawApp {
  /** What it took for requests. */
  readonly requests: Message[]
}

/** An application that takes what it gets for HTTP in its own way, and answers each request that it sees with its first line. */
export const openLenientApp = async (
  dialect: Dialect,
  answer = ({ line }: Message): string => `HTTP/1.1 200 OK\r\nContent-Length: ${line.length}\r\n\r\n${line}`,
): Promise<LenientApp> => {
  const requests: Message[] = []
  const read = new Map<number, number>()
  const app = await openRawApp((socket, received, connection) => {
    for (;;) {
      const at = read.get(connection) ?? 0
      const one = readMessage(received.slice(at), dialect)
      if (one === undefined) return
      read.set(connection, at + one.bytes.length)
      requests.push(one)
      socket.write(answer(one), "latin1")
    }
  })
  return { ...app, requests }
}
