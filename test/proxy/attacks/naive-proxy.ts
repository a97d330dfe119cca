import { connect, createServer, type Socket } from "node:net"
import { once } from "node:events"
import { listen } from "../test-edge.ts"
import { readMessage, type Dialect } from "./dialect.ts"

export interface NaiveProxy extends AsyncDisposable {
  readonly port: number
  /** First lines of the requests that it thinks it has passed on. */
  readonly lines: string[]
}

export interface Naivety {
  readonly dialect: Dialect
  /** Takes out what `Connection` names, whatever that is. */
  readonly dropsNamed?: boolean
  /** Becomes a tunnel when it is asked to, before anybody agreed. */
  readonly tunnels?: boolean
}

/**
 * A proxy as one writes it in an afternoon: it passes on what it takes for messages, byte by byte, over the one connection to its
 * application that it keeps, and gives each answer to whoever has waited longest. One answer is one `Content-Length`.
 */
export const openNaiveProxy = async (
  appPort: number,
  { dialect, dropsNamed, tunnels }: Naivety,
): Promise<NaiveProxy> => {
  const lines: string[] = []
  const waiting: Socket[] = []
  const clients = new Set<Socket>()
  const app = connect(appPort, "127.0.0.1")
    .setEncoding("latin1")
    .on("error", () => {})
  let answers = ""
  app.on("data", (data: string) => {
    answers += data
    for (let one = readMessage(answers, dialect); one !== undefined && waiting.length > 0;) {
      answers = answers.slice(one.bytes.length)
      waiting.shift()?.write(one.bytes, "latin1")
      one = readMessage(answers, dialect)
    }
  })
  await once(app, "connect")
  const server = createServer((client) => {
    let received = ""
    let isTunnel = false
    clients.add(client)
    client
      .setEncoding("latin1")
      .on("error", () => {})
      .on("data", (data: string) => {
        received += data
        for (;;) {
          const one = isTunnel ? undefined : readMessage(received, dialect)
          if (one === undefined) break
          received = received.slice(one.bytes.length)
          lines.push(one.line)
          waiting.push(client)
          isTunnel = tunnels === true && /^upgrade:/im.test(one.bytes)
          app.write(dropsNamed === true ? dropNamed(one.bytes) : one.bytes, "latin1")
        }
        if (!isTunnel) return
        app.write(received, "latin1")
        received = ""
      })
  })
  return {
    port: await listen(server),
    lines,
    async [Symbol.asyncDispose]() {
      app.destroy()
      for (const client of clients) client.destroy()
      server.close()
      await once(server, "close")
    },
  }
}

const dropNamed = (bytes: string): string => {
  const named = /^connection: *(.*?)\r\n/im.exec(bytes)?.[1]?.split(/ *, */) ?? []
  return named.reduce((left, name) => left.replace(new RegExp(`^${name}:.*\\r\\n`, "im"), ""), bytes)
}
