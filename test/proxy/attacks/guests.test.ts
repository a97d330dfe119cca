/**
 * Applications that break off, flood or say nothing: a careless proxy leaves their clients waiting, or passes on whatever comes; what the
 * edge's are told, and that nothing of them stays behind.
 */
import { once } from "node:events"
import { readdir, readlink } from "node:fs/promises"
import { connect, type Socket } from "node:net"
import { text } from "node:stream/consumers"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { collectedHeapMiB } from "../../fixtures/collected-heap.ts"
import { eventually } from "../../fixtures/eventually.ts"
import { openRawApp } from "../raw-app.ts"
import { openTestEdge, type TestEdge } from "../test-edge.ts"
import { PLAIN } from "./dialect.ts"
import { openNaiveProxy, type NaiveProxy } from "./naive-proxy.ts"

let edge: TestEdge
beforeAll(async () => void (edge = await openTestEdge()))
afterAll(() => edge?.[Symbol.asyncDispose]())

const HEAD = "HTTP/1.1 200 OK\r\n"
const MIB = 1024 * 1024
const MAX_GROWN_MIB = 5

/** Writes on and on, as fast as it is read. */
const flood = (socket: Socket, piece: string) => {
  const more = () => {
    while (socket.writable && socket.write(piece));
  }
  socket.on("drain", more)
  more()
}
/** Says something, and is gone without a word once it was heard. */
const sayAndReset = (socket: Socket, said: string) => {
  socket.write(said)
  setTimeout(() => socket.resetAndDestroy(), 5)
}

/** With what the client of a careless proxy has of it. */
type Guest = readonly [does: string, answer: (socket: Socket) => void, naively: RegExp]
const NOTHING = /^$/
const ANYTHING = /^[^]{500000}/

const refused: readonly Guest[] = [
  ["resets at once", (socket) => socket.resetAndDestroy(), NOTHING],
  ["resets in its head", (socket) => sayAndReset(socket, "HTTP/1.1 200 OK\r\nX-"), NOTHING],
  ["hangs up in its head", (socket) => socket.end(`${HEAD}X-`), NOTHING],
  ["answers garbage", (socket) => socket.end("\0\x01\x02garbage\r\n\r\n"), /garbage/],
  ["answers a mebibyte of one header", (socket) => socket.write(`${HEAD}X: ${"x".repeat(MIB)}\r\n\r\n`), ANYTHING],
  ["answers 100,000 headers", (socket) => socket.write(`${HEAD}${"X: y\r\n".repeat(100_000)}\r\n`), ANYTHING],
  [
    "never ends its head",
    (socket) => {
      socket.write(HEAD)
      flood(socket, "X: y\r\n".repeat(100))
    },
    NOTHING,
  ],
  [
    "hints without end",
    (socket) => flood(socket, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(100)),
    /^HTTP\/1.1 103 /,
  ],
]
const brokenOff: readonly Guest[] = [
  ["resets behind its head", (socket) => sayAndReset(socket, `${HEAD}Content-Length: 9\r\n\r\n`), NOTHING],
  ["resets in its body", (socket) => sayAndReset(socket, `${HEAD}Content-Length: 9\r\n\r\nhalf`), NOTHING],
  ["hangs up in its body", (socket) => socket.end(`${HEAD}Content-Length: 9\r\n\r\nhalf`), NOTHING],
  [
    "hangs up between chunks",
    (socket) => socket.end(`${HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n`),
    NOTHING,
  ],
  [
    "goes on with garbage for a chunk",
    (socket) => socket.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzzz\r\n`),
    NOTHING,
  ],
]

const openGuest = (answer: Guest[1]) =>
  openRawApp((socket, received) => void (received.endsWith("\r\n\r\n") && answer(socket)))
/** Asks on a connection of its own and reads until that is closed. */
const ask = async (port: number, line = "GET /"): Promise<string> => {
  const socket = await edge.raw()
  socket.setEncoding("latin1").write(edge.head(line, port, "Connection: close"))
  return text(socket).catch(() => "")
}

/** Asks a careless proxy; what it has been told, and whether it is still waiting. */
const askNaively = (proxy: NaiveProxy, line = "GET /") => {
  const asked = { told: "", socket: connect(proxy.port, "127.0.0.1").setEncoding("latin1") }
  asked.socket.on("data", (data: string) => (asked.told += data)).write(`${line} HTTP/1.1\r\nHost: x\r\n\r\n`)
  return asked
}
const CARELESS = { dialect: { ...PLAIN, chunkSizeOf: (line: string) => Number.parseInt(line, 16) || 0 } }
/** That a guest did its worst behind a careless proxy, and what its client had of it. */
const harmNaively = async ([, answer, naively]: Guest) => {
  let isDone = false
  await using app = await openGuest((socket) => {
    answer(socket)
    isDone = true
  })
  await using proxy = await openNaiveProxy(app.port, CARELESS)
  const asked = askNaively(proxy)
  await eventually(() => expect([isDone, asked.told]).toEqual([true, expect.stringMatching(naively)]))
  expect(asked.socket.readyState).toBe("open")
  asked.socket.destroy()
}

describe("A guest's client", () => {
  test.for(refused)("is told that the application failed, when it %s", async (guest) => {
    await harmNaively(guest)
    await using app = await openGuest(guest[1])
    const told = await ask(app.port)
    expect(told.replace(/^(HTTP\/1.1 10\d [^]*?\r\n\r\n)*/, "")).toMatch(
      /^HTTP\/1.1 502 [^]*x-aws-proxy-error: APP_CONNECT_FAILED/,
    )
    await eventually(() => expect([app.connections.size, edge.vm.activity.open]).toEqual([0, 0]))
  })

  test.for(brokenOff)("is broken off where the answer is, when it %s", async (guest) => {
    await harmNaively(guest)
    await using app = await openGuest(guest[1])
    const told = await ask(app.port)
    expect(told).toMatch(/^(HTTP\/1.1 200 |$)/)
    expect(told).not.toMatch(/\r\n0\r\n\r\n$/)
    await eventually(() => expect([app.connections.size, edge.vm.activity.open]).toEqual([0, 0]))
  })

  test.for([
    ["HEAD /", `${HEAD}Content-Length: 6\r\n\r\npoison`],
    ["GET /", "HTTP/1.1 204 No Content\r\n\r\npoison"],
    ["GET /", "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison"],
  ] as const)("gets no body where there is none: %s %j", async ([line, said]) => {
    await using app = await openGuest((socket) => socket.write(said))
    {
      await using proxy = await openNaiveProxy(app.port, CARELESS)
      // This client's, or what the next one's answer begins with.
      const both = [askNaively(proxy, line), askNaively(proxy, line)]
      await eventually(() => expect(both.map(({ told }) => told).join()).toContain("poison"))
      for (const { socket } of both) socket.destroy()
    }
    for (let round = 0; round < 3; round++) {
      const told = await ask(app.port, line)
      expect(told).toMatch(/^HTTP\/1.1 (200|204|304) /)
      expect(told).not.toContain("poison")
      await eventually(() => expect(app.connections.size).toBe(0))
    }
  })

  test("may wait as long as it likes, and takes the guest's connection with it when it leaves", async () => {
    await using app = await openGuest(() => {})
    {
      await using proxy = await openNaiveProxy(app.port, CARELESS)
      const { socket } = askNaively(proxy)
      await eventually(() => expect(app.received).toHaveLength(1))
      socket.destroy()
      await once(socket, "close")
      expect(app.connections.size).toBe(1)
    }
    await eventually(() => expect(app.connections.size).toBe(0))
    const socket = await edge.raw()
    socket.write(edge.head("GET /", app.port))
    await eventually(() => expect(app.received).toHaveLength(2))
    expect(edge.vm.activity.open).toBe(1)
    socket.reset()
    await eventually(() => expect([app.connections.size, edge.vm.activity.open]).toEqual([0, 0]))
  })
})

/** What this process holds open, on both sides of the edge. */
const held = async () => {
  const files = await Promise.all(
    (await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")),
  )
  const resources = process.getActiveResourcesInfo()
  const count = (name: string) => resources.filter((one) => one === name).length
  return {
    sockets: files.filter((name) => name.startsWith("socket:")).length,
    connections: count("TCPSocketWrap"),
    connecting: count("TCPConnectWrap"),
    timers: count("Timeout"),
  }
}
type Held = Awaited<ReturnType<typeof held>>
/** Whether there is no more of anything; what others had left in this process may have gone meanwhile. */
const isWithin = (after: Held, before: Held) =>
  Object.entries(before).every(([name, count]) => after[name as keyof Held] <= count)
test("Nothing stays of any of them: no socket, no timer, no memory", async () => {
  const round = async ([, answer]: Guest) => {
    await using app = await openGuest(answer)
    await ask(app.port)
  }
  const guests = [...refused, ...brokenOff]
  // Code, caches and pools that the first ones need.
  for (const guest of guests) await round(guest)
  const before = await held()
  // 65 exchanges at a time, ten of them with a mebibyte or more in their heads; what is compiled meanwhile grows the heap once.
  let grownMiB = Infinity
  for (let time = 0; time < 3 && grownMiB >= MAX_GROWN_MIB; time++) {
    const heapBefore = await collectedHeapMiB()
    for (let rounds = 0; rounds < 5; rounds++) await Promise.all(guests.map(round))
    grownMiB = (await collectedHeapMiB()) - heapBefore
  }
  let after = await held()
  // By hand: vitest's own waiting has timers of its own.
  for (let tries = 0; tries < 6000 && !isWithin(after, before); tries++) {
    await sleep(10)
    after = await held()
  }
  expect(isWithin(after, before), JSON.stringify({ after, before })).toBe(true)
  expect(grownMiB).toBeLessThan(MAX_GROWN_MIB)
})

test("A kept connection that the application closes just when a request comes is nobody's loss", async () => {
  await using app = await openRawApp((socket, received) => {
    if (!received.endsWith("\r\n\r\n")) return
    socket.write(`${HEAD}Content-Length: 2\r\n\r\nok`)
    // Some before the next request, some under it.
    setImmediate(() => socket.destroy())
  })
  const statuses = new Set<number>()
  for (let count = 0; count < 200; count++) statuses.add((await edge.get(app)).status)
  expect([...statuses]).toEqual([200])
  expect(app.received.length).toBeGreaterThan(0)
})
