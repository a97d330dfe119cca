import { createSocket } from "node:dgram"
import { Resolver as Client } from "node:dns/promises"
import { once } from "node:events"
import { connect, type Socket } from "node:net"
import { networkInterfaces } from "node:os"
import { describe, expect, test } from "vitest"
import { createLog } from "../../src/log.ts"
import { messagesOf, toFrame } from "../../src/net/dns-frames.ts"
import type { NameServer } from "../../src/net/name-server.ts"
import { RESOLVER_PORT } from "../../src/net/policy.ts"
import { openResolver } from "../../src/net/resolver.ts"
import { questionOf, toAnswer, toQuery, TYPES } from "./dns-messages.ts"
import { openNameServer, type Asked, type Behaviour } from "./name-server.ts"

/** An address of this machine's loopback that no other test has: the resolver's port is always the same. */
let next = 0
const ownAddress = () => `127.${process.pid & 127}.${(process.pid >> 7) & 255}.${++next}`

const ADDRESS = Buffer.from([203, 0, 113, 7])
const says: Behaviour = ({ message }) => [toAnswer(message, { data: [ADDRESS] })]
const isSilent: Behaviour = () => []
const text = (value: string) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)])

const open = async (nameServers: readonly NameServer[]) => {
  const address = ownAddress()
  const resolver = await openResolver({ address, nameServers, log: createLog("error") })
  return { address, close: () => resolver.close(), [Symbol.asyncDispose]: () => resolver.close() }
}

/** A client's own socket, which hears whatever is sent to it. */
const openClient = async (address: string) => {
  const socket = createSocket("udp4")
  const heard: Buffer[] = []
  socket.on("message", (message) => heard.push(message)).on("error", () => {})
  socket.connect(RESOLVER_PORT, address)
  await once(socket, "connect")
  return {
    heard,
    send: (message: Buffer) => socket.send(message),
    /** The answer to the next message; nothing else may be heard before it. */
    async ask(message: Buffer) {
      socket.send(message)
      const [answer] = (await once(socket, "message")) as [Buffer]
      return answer
    },
    [Symbol.asyncDispose]: () => new Promise<void>((done) => socket.close(done)),
  }
}

const dial = async (address: string): Promise<Socket> => {
  const socket = connect(RESOLVER_PORT, address)
  socket.on("error", () => {})
  await once(socket, "connect")
  return socket
}
/** Every message until the connection ends, however it ends. */
const heardBy = async (socket: Socket): Promise<Buffer[]> => {
  const heard: Buffer[] = []
  try {
    for await (const message of messagesOf(socket, 65_535)) heard.push(message)
  } catch {}
  return heard
}
/** Resolves when the connection is over, however it ended; what comes meanwhile is passed over. */
const end = (socket: Socket) => closing(socket.resume())
const closing = (socket: Socket) => new Promise<void>((done) => socket.once("close", () => done()))
const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}
/** A DNS client as programs have it, with its own falling back to TCP. */
const clientOf = (address: string) => {
  const client = new Client({ tries: 1, timeout: 20_000 })
  client.setServers([`${address}:${RESOLVER_PORT}`])
  return client
}

describe("A slot's resolver", () => {
  test("forwards a question under an id of its own, and gives the answer back under the guest's", async () => {
    await using server = await openNameServer(says)
    await using resolver = await open([server])
    await using client = await openClient(resolver.address)
    const ids = new Set<number>()
    for (let id = 0; id < 8; id++) {
      const query = toQuery(id, "www.example.org", TYPES.A)
      expect(await client.ask(query)).toEqual(toAnswer(query, { data: [ADDRESS] }))
      ids.add(server.asked.at(-1)?.message.readUInt16BE(0) ?? -1)
    }
    expect(ids).not.toEqual(new Set([0, 1, 2, 3, 4, 5, 6, 7]))
    // As random as its port: what an attacker outside would have to guess.
    expect(new Set(server.asked.map(({ from }) => from.port)).size).toBeGreaterThan(1)
  })

  test("serves a real client, by TCP too when the answer is too long for a datagram", async () => {
    const long = Array.from({ length: 20 }, (_, line) => `${line}`.padEnd(200, "x"))
    await using server = await openNameServer(({ transport, type, message }) =>
      type === TYPES.TXT
        ? [toAnswer(message, transport === "udp" ? { truncated: true } : { data: long.map(text) })]
        : [toAnswer(message, { data: [ADDRESS] })],
    )
    await using resolver = await open([server])
    const client = clientOf(resolver.address)
    expect(await client.resolve4("www.example.org")).toEqual(["203.0.113.7"])
    expect((await client.resolveTxt("long.example.org")).flat().toSorted()).toEqual(long.toSorted())
    expect(server.asked.map(({ transport, name }) => `${transport} ${name}`)).toEqual([
      "udp www.example.org",
      "udp long.example.org",
      "tcp long.example.org",
    ])
  })

  test("hands on what a name server says of a name: none such, or nothing of that type", async () => {
    await using server = await openNameServer(({ name, message }) => [
      toAnswer(message, { rcode: name.startsWith("none") ? 3 : 0 }),
    ])
    await using resolver = await open([server])
    const client = clientOf(resolver.address)
    await expect(client.resolve4("none.example.org")).rejects.toMatchObject({ code: "ENOTFOUND" })
    await expect(client.resolve4("nothing.example.org")).rejects.toMatchObject({ code: "ENODATA" })
  })

  test("says that no name has an IPv6 address, and asks nobody about it", async () => {
    await using server = await openNameServer(says)
    await using resolver = await open([server])
    const client = clientOf(resolver.address)
    await expect(client.resolve6("www.example.org")).rejects.toMatchObject({ code: "ENODATA" })
    expect(await client.resolve4("www.example.org")).toEqual(["203.0.113.7"])
    expect(server.asked.map(({ type }) => type)).toEqual([TYPES.A])
  })

  test.skipIf(
    !Object.values(networkInterfaces())
      .flat()
      .some((one) => one?.address === "::1"),
  )("asks a name server that has an IPv6 address, by UDP and by TCP", async () => {
    await using server = await openNameServer(says, "::1")
    await using resolver = await open([server])
    await using client = await openClient(resolver.address)
    const query = toQuery(7, "www.example.org", TYPES.A)
    expect(await client.ask(query)).toEqual(toAnswer(query, { data: [ADDRESS] }))
    const socket = await dial(resolver.address)
    socket.end(toFrame(query))
    for await (const answer of messagesOf(socket, 65_535)) expect(answer).toEqual(toAnswer(query, { data: [ADDRESS] }))
    expect(server.asked.map(({ transport }) => transport)).toEqual(["udp", "tcp"])
  })

  test("answers several questions of one TCP connection, also after the guest has closed its side", async () => {
    await using server = await openNameServer(says)
    await using resolver = await open([server])
    const socket = await dial(resolver.address)
    const queries = ["a.example", "b.example", "c.example"].map((name, id) => toQuery(id, name, TYPES.A))
    // In pieces that end anywhere.
    const bytes = Buffer.concat(queries.map(toFrame))
    for (let at = 0; at < bytes.length; at += 7) socket.write(bytes.subarray(at, at + 7))
    socket.end()
    expect(await heardBy(socket)).toEqual(queries.map((query) => toAnswer(query, { data: [ADDRESS] })))
  })
})

describe("A forged answer", () => {
  const forged = Buffer.from([198, 51, 100, 66])

  test.for<[what: string, forge: (message: Buffer) => Buffer]>([
    [
      "with another id",
      (message) => {
        const answer = toAnswer(message, { data: [forged] })
        answer.writeUInt16BE((message.readUInt16BE(0) + 1) & 0xffff, 0)
        return answer
      },
    ],
    [
      "for another name",
      (message) => toAnswer(toQuery(message.readUInt16BE(0), "evil.example", TYPES.A), { data: [forged] }),
    ],
    [
      "for another type",
      (message) => toAnswer(toQuery(message.readUInt16BE(0), questionOf(message).name, TYPES.TXT), { data: [forged] }),
    ],
    ["that is no answer", (message) => message],
    ["that is no message", () => Buffer.from("x")],
  ])("%s is passed over, by UDP and by TCP", async ([, forge]) => {
    await using server = await openNameServer(({ message }) => [forge(message), toAnswer(message, { data: [ADDRESS] })])
    await using resolver = await open([server])
    await using client = await openClient(resolver.address)
    const query = toQuery(7, "www.example.org", TYPES.A)
    expect(await client.ask(query)).toEqual(toAnswer(query, { data: [ADDRESS] }))
    const socket = await dial(resolver.address)
    socket.end(toFrame(query))
    expect(await heardBy(socket)).toEqual([toAnswer(query, { data: [ADDRESS] })])
  })

  test("from another source is passed over, though it knows the id and the port", async () => {
    await using forger = await openClientless()
    await using server = await openNameServer(async ({ message, from }) => {
      await forger.send(toAnswer(message, { data: [forged] }), from)
      return [toAnswer(message, { data: [ADDRESS] })]
    })
    await using resolver = await open([server])
    await using client = await openClient(resolver.address)
    const query = toQuery(7, "www.example.org", TYPES.A)
    expect(await client.ask(query)).toEqual(toAnswer(query, { data: [ADDRESS] }))
  })

  /** A socket that sends to anybody, from an address that is no name server's. */
  const openClientless = async () => {
    const socket = createSocket("udp4")
    socket.bind(0, ownAddress())
    await once(socket, "listening")
    return {
      send: (message: Buffer, { address, port }: Asked["from"]) =>
        new Promise<void>((done) => socket.send(message, port, address, () => done())),
      [Symbol.asyncDispose]: () => new Promise<void>((done) => socket.close(done)),
    }
  }
})

describe("Several name servers", () => {
  const query = toQuery(7, "www.example.org", TYPES.A)

  test("are asked in order: the second only when the first has no answer", async () => {
    await using first = await openNameServer(says)
    await using second = await openNameServer(says)
    await using resolver = await open([first, second])
    await using client = await openClient(resolver.address)
    await client.ask(query)
    expect([first.asked.length, second.asked.length]).toEqual([1, 0])
  })

  test.for<[what: string, nameServer: () => Promise<NameServer & Partial<AsyncDisposable>>]>([
    ["says nothing", () => openNameServer(isSilent)],
    [
      "isn't there",
      async () => {
        const { address, port, [Symbol.asyncDispose]: close } = await openNameServer(isSilent)
        await close()
        return { address, port }
      },
    ],
    // A datagram socket may not be connected to everybody at once.
    ["cannot be connected to", () => Promise.resolve({ address: "255.255.255.255", port: 53 })],
    ["has a failure of its own", () => openNameServer(({ message }) => [toAnswer(message, { rcode: 2 })])],
    ["refuses", () => openNameServer(({ message }) => [toAnswer(message, { rcode: 5 })])],
  ])("make up for the first, when it %s", async ([, nameServer]) => {
    await using opened = new AsyncDisposableStack()
    const bad = await nameServer()
    if (Symbol.asyncDispose in bad) opened.defer(async () => bad[Symbol.asyncDispose]?.())
    await using good = await openNameServer(says)
    await using resolver = await open([bad, good])
    await using client = await openClient(resolver.address)
    const socket = await dial(resolver.address)
    socket.end(toFrame(query))
    expect([await client.ask(query), ...(await heardBy(socket))]).toEqual(
      Array(2).fill(toAnswer(query, { data: [ADDRESS] })),
    )
  })

  test("that all fail are a failure, and what the last of them said is handed on", async () => {
    await using silent = await openNameServer(isSilent)
    await using refusing = await openNameServer(({ message }) => [toAnswer(message, { rcode: 5 })])
    await using alone = await open([silent])
    await using both = await open([refusing, silent])
    await using client = await openClient(alone.address)
    await using other = await openClient(both.address)
    expect(await Promise.all([client.ask(query), other.ask(query)])).toEqual([
      toAnswer(query, { rcode: 2 }),
      toAnswer(query, { rcode: 5 }),
    ])
  })
})

describe("A hostile guest", () => {
  const query = (id: number) => toQuery(id, "www.example.org", TYPES.A)

  test("gets no answer to what is no question, and its next question is answered", async () => {
    await using server = await openNameServer(says)
    await using resolver = await open([server])
    await using client = await openClient(resolver.address)
    const answer = toAnswer(query(1), { data: [ADDRESS] })
    for (const message of [
      Buffer.alloc(0),
      Buffer.from([1]),
      query(1).subarray(0, 12),
      query(1).subarray(0, -1),
      Buffer.alloc(12 + 5, 0xff),
      answer,
      toQuery(1, "a".repeat(64), TYPES.A),
      toQuery(1, "long.example.org", TYPES.A, Buffer.alloc(1024)),
      Buffer.alloc(60_000, 1),
    ])
      client.send(message)
    expect(await client.ask(query(2))).toEqual(toAnswer(query(2), { data: [ADDRESS] }))
    expect(client.heard).toHaveLength(1)
    expect(server.asked).toHaveLength(1)
  })

  test.for<[what: string, bytes: Buffer]>([
    ["an empty message", Buffer.from([0, 0])],
    ["no question", toFrame(Buffer.from("no question"))],
    ["an answer", toFrame(toAnswer(query(1), {}))],
    ["the length of a message that is too long", Buffer.from([0xff, 0xff])],
  ])("loses its TCP connection by %s", async ([, bytes]) => {
    await using server = await openNameServer(says)
    await using resolver = await open([server])
    const socket = await dial(resolver.address)
    const closed = end(socket)
    socket.write(bytes)
    await closed
    expect(server.asked).toEqual([])
  })

  test("that sends half a message and is silent, or ends, holds its connection for a while only", async () => {
    await using server = await openNameServer(says)
    await using resolver = await open([server])
    const half = toFrame(query(1)).subarray(0, 20)
    const sockets = await Promise.all([dial(resolver.address), dial(resolver.address), dial(resolver.address)])
    const [silent, waits, ends] = sockets
    const closed = Promise.all(sockets.map((socket) => end(socket)))
    silent?.write(half)
    waits?.write(half.subarray(0, 1))
    ends?.end(half)
    await closed
    expect(server.asked).toEqual([])
  })

  test("has eight TCP connections, and one more when it gives one back", async () => {
    await using server = await openNameServer(says)
    await using resolver = await open([server])
    const sockets = await Promise.all(Array.from({ length: 20 }, () => dial(resolver.address)))
    const answered = await Promise.all(
      sockets.map((socket) => {
        socket.write(toFrame(query(1)))
        return new Promise<boolean>((done) => socket.once("data", () => done(true)).once("close", () => done(false)))
      }),
    )
    const [first, ...others] = sockets.filter((_, index) => answered[index])
    expect(others).toHaveLength(7)
    first?.destroy()
    // The resolver hears of it a moment later.
    for (;;) {
      const socket = await dial(resolver.address)
      socket.end(toFrame(query(1)))
      if ((await heardBy(socket)).length === 1) break
    }
    for (const socket of others) socket.destroy()
  })

  test("that asks and asks and reads no answer is read no further", async () => {
    await using resolver = await open([{ address: "127.0.0.1", port: 1 }])
    const socket = await dial(resolver.address)
    const closed = closing(socket)
    // Far more than the kernel keeps for both ends of a connection; each question has an answer of the same length.
    const questions = Buffer.concat(Array<Buffer>(4000).fill(toFrame(toQuery(1, "a.".repeat(120) + "a", TYPES.AAAA))))
    let taken = 0
    for (let sent = 0; sent < 64; sent++) socket.write(questions, (error) => error === null && taken++)
    await closed
    expect(taken).toBeLessThan(64)
  })

  test("has at most 64 questions on the way, and is served again when they have failed", async () => {
    let silent = true
    await using server = await openNameServer((asked) => (silent ? [] : says(asked)))
    await using resolver = await open([server])
    await using client = await openClient(resolver.address)
    for (let id = 0; id < 150; id++) client.send(query(id))
    await until(() => client.heard.length === 64)
    for (const answer of client.heard) expect(answer.readUInt16BE(2) & 15).toBe(2)
    expect(server.asked).toHaveLength(64)
    silent = false
    expect(await client.ask(query(200))).toEqual(toAnswer(query(200), { data: [ADDRESS] }))
  })
})

describe("A closed resolver", () => {
  test("leaves the questions on the way without an answer, and its sockets free", async () => {
    const arrived = Promise.withResolvers<void>()
    let count = 0
    // Answers come when nobody waits any more.
    const answer = Promise.withResolvers<void>()
    await using server = await openNameServer(async (asked) => {
      if (++count === 2) arrived.resolve()
      await answer.promise
      return says(asked)
    })
    const resolver = await open([server])
    await using client = await openClient(resolver.address)
    const socket = await dial(resolver.address)
    const closed = end(socket)
    client.send(toQuery(1, "www.example.org", TYPES.A))
    socket.write(toFrame(toQuery(1, "www.example.org", TYPES.A)))
    await arrived.promise
    await resolver.close()
    await closed
    answer.resolve()
    const again = await openResolver({ address: resolver.address, nameServers: [server], log: createLog("error") })
    const query = toQuery(2, "www.example.org", TYPES.A)
    expect(await client.ask(query)).toEqual(toAnswer(query, { data: [ADDRESS] }))
    expect(client.heard).toHaveLength(1)
    await again.close()
  })

  test("is refused a second time at the same address, without harm to the first", async () => {
    await using server = await openNameServer(says)
    await using resolver = await open([server])
    const options = { address: resolver.address, nameServers: [server], log: createLog("error") }
    await expect(openResolver(options)).rejects.toMatchObject({ code: "EADDRINUSE" })
    expect(await clientOf(resolver.address).resolve4("www.example.org")).toEqual(["203.0.113.7"])
  })
})
