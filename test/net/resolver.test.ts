import { networkInterfaces } from "node:os"
import { describe, expect, test } from "vitest"
import { createLog } from "../../src/log.ts"
import { messagesOf, toFrame } from "../../src/net/dns-frames.ts"
import type { NameServer } from "../../src/net/name-server.ts"
import { openResolver } from "../../src/net/resolver.ts"
import { toAnswer, toQuery, TYPES } from "./dns-messages.ts"
import { openNameServer } from "./name-server.ts"
import { ADDRESS, clientOf, dial, end, heardBy, isSilent, open, openClient, says, text } from "./resolver-under-test.ts"

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
