/** What a test's peer does on a network, wherever it is: it listens and tells who came, connects, and sends. Every answer is a text. */
import { createSocket, type RemoteInfo, type Socket as Datagrams } from "node:dgram"
import { Resolver } from "node:dns/promises"
import { once } from "node:events"
import { connect, createServer, type Server, type Socket } from "node:net"

export interface Target {
  readonly host: string
  readonly port: number
  /** The own address that is used; the kernel chooses when it is left out. */
  readonly from?: string
}

export interface Endpoints {
  /** Listens at one address by TCP and UDP, at a port that is free there for both when it is 0. Resolves with the port; whoever comes is told where from. */
  listen(target: Target): Promise<number>
  /** Everybody who came, as `tcp 10.0.0.1 to 10.0.0.2:80`. */
  heard(): Promise<string[]>
  /** What the other side said first, or the code of the failure; `nothing` when neither came. */
  tcp(target: Target): Promise<string>
  /** As `tcp`, and the connection stays open. */
  hold(target: Target): Promise<string>
  /** Closes the connections that are held; resolves when they are. */
  drop(): Promise<void>
  /** What came back for a datagram, or the code of the failure. */
  udp(target: Target): Promise<string>
  /** Sends a datagram, and doesn't wait for anything. */
  send(target: Target & { /** In hexadecimal digits. */ readonly message?: string }): Promise<void>
  /** Sends each of so many datagrams from a port of its own; resolves with how many were answered once all were, or refused. */
  flood(
    target: Target & { readonly count: number; /** In hexadecimal digits. */ readonly message?: string },
  ): Promise<number>
  /** The addresses of a name as a resolver says, or the code of the failure. */
  resolve(target: { readonly server: string; readonly name: string }): Promise<string>
  close(): Promise<void>
}

/** So that a packet that is lost without a word fails a test by its text. What is refused over UDP, the kernel says only so often. */
const patience = (ms: number) => ({ signal: AbortSignal.timeout(ms) })
const codeOf = (error: unknown) => {
  const { name, code } = error as NodeJS.ErrnoException
  return name === "AbortError" ? "nothing" : (code ?? String(error))
}

/** Opens nothing yet; the caller closes what it opened by it. */
export const createEndpoints = (): Endpoints => {
  const servers: Server[] = []
  const sockets = new Set<Datagrams>()
  const connections = new Set<Socket>()
  const held: Socket[] = []
  const heard: string[] = []

  const bound = async (address: string, port: number) => {
    const socket = createSocket({ type: address.includes(":") ? "udp6" : "udp4", reuseAddr: false })
    socket.bind(port, address)
    await once(socket, "listening")
    sockets.add(socket)
    return socket
  }
  const come = (transport: string, from: string | undefined, { host, port }: Target) => {
    const text = `${transport} ${from} to ${host}:${port}`
    heard.push(text)
    return text
  }
  const greeted = async ({ host, port, from }: Target): Promise<[Socket, string]> => {
    const socket = connect({ host, port, ...(from === undefined ? {} : { localAddress: from }) })
    socket.on("error", () => {})
    try {
      const [text] = (await once(socket, "data", patience(60_000))) as [Buffer]
      return [socket, text.toString()]
    } catch (error) {
      return [socket.destroy(), codeOf(error)]
    }
  }
  const ask = async ({ host, port, from }: Target, message = "00"): Promise<Buffer> => {
    const socket = createSocket(host.includes(":") ? "udp6" : "udp4")
    try {
      if (from !== undefined) {
        socket.bind(0, from)
        await once(socket, "listening")
      }
      socket.connect(port, host)
      await once(socket, "connect")
      socket.send(Buffer.from(message, "hex"))
      const [answer] = (await once(socket, "message", patience(5000))) as [Buffer]
      return answer
    } finally {
      socket.close()
    }
  }

  return {
    async listen({ host, port }) {
      for (;;) {
        const server = createServer((socket) => {
          connections.add(socket)
          socket.on("error", () => {})
          socket.once("close", () => connections.delete(socket))
          socket.write(come("tcp", socket.remoteAddress, { host, port: chosen }))
        })
        server.listen(port, host)
        await once(server, "listening")
        const { port: chosen } = server.address() as { port: number }
        const udp = await bound(host, chosen).catch((error: unknown) => {
          server.close()
          if (port !== 0) throw error
        })
        if (udp === undefined) continue
        udp.on("message", (_: Buffer, from: RemoteInfo) =>
          udp.send(come("udp", from.address, { host, port: chosen }), from.port, from.address, () => {}),
        )
        servers.push(server)
        return chosen
      }
    },
    heard: () => Promise.resolve([...heard]),
    async tcp(target) {
      const [socket, text] = await greeted(target)
      socket.destroy()
      return text
    },
    async hold(target) {
      const [socket, text] = await greeted(target)
      if (!socket.destroyed) held.push(socket)
      return text
    },
    async drop() {
      await Promise.all(
        held.splice(0).map(
          (socket) =>
            new Promise<void>((done) => {
              socket.once("close", () => done())
              socket.resume().end()
            }),
        ),
      )
    },
    udp: (target) => ask(target).then(String, codeOf),
    async send({ host, port, from, message = "00" }) {
      const socket = await bound(from ?? (host.includes(":") ? "::" : "0.0.0.0"), 0)
      if (!host.includes(":")) socket.setBroadcast(true)
      await new Promise<void>((done) => socket.send(Buffer.from(message, "hex"), port, host, () => done()))
    },
    async flood({ count, message, ...target }) {
      const answers = await Promise.allSettled(Array.from({ length: count }, () => ask(target, message)))
      return answers.filter(({ status }) => status === "fulfilled").length
    },
    async resolve({ server, name }) {
      const resolver = new Resolver({ tries: 1, timeout: 20_000 })
      resolver.setServers([server])
      return resolver.resolve4(name).then((addresses) => addresses.join(), codeOf)
    },
    async close() {
      for (const socket of [...connections, ...held]) socket.destroy()
      await Promise.all([
        ...servers.map((server) => new Promise<void>((done) => server.close(() => done()))),
        ...[...sockets].map((socket) => new Promise<void>((done) => socket.close(done))),
      ])
    },
  }
}
