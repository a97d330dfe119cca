import { createSocket } from "node:dgram"
import { once } from "node:events"
import { describe, expect, test } from "vitest"
import { toFrame } from "../../src/net/dns-frames.ts"
import { questionOf, toAnswer, toQuery, TYPES } from "./dns-messages.ts"
import { openNameServer, type Asked } from "./name-server.ts"
import {
  ADDRESS,
  closing,
  dial,
  end,
  heardBy,
  open,
  openClient,
  ownAddress,
  says,
  until,
} from "./resolver-under-test.ts"

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
