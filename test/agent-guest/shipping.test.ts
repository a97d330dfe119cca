import { execFileSync } from "node:child_process"
import { once } from "node:events"
import { createReadStream } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { createInterface } from "node:readline"
import { setImmediate } from "node:timers/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { createOutput, type Output } from "../../images/agent/output.ts"
import { openPort } from "../../images/agent/port.ts"
import { createShipping, type Shipping } from "../../images/agent/shipping.ts"
import { openAgentEvents, type AgentEvents } from "../../src/agent/events.ts"
import { AgentEvent } from "../../src/agent/protocol.ts"
import { EVENT_LINE_MAX } from "../../src/agent/version.ts"
import { openGuestPort, type GuestPort } from "../agent/guest-port.ts"

/** What was said, out of events, by stream. */
const wordsOf = (events: readonly AgentEvent[]) => {
  const words = { stdout: "", stderr: "", dropped: 0 }
  for (const event of events) {
    if (event.event === "output") words[event.stream] += event.data
    if (event.event === "dropped") words.dropped += event.characters
  }
  return words
}

describe("The application's words on their way to the host", () => {
  let told: AgentEvent[]
  let output: Output
  let shipping: Shipping
  /** The host takes one write, then the next. */
  let taken: Promise<void>
  beforeEach(() => {
    told = []
    taken = Promise.resolve()
    output = createOutput(() => shipping.note())
    shipping = createShipping("main", output, async (...events) => {
      for (const event of events) {
        expect(JSON.stringify(event).length).toBeLessThanOrEqual(EVENT_LINE_MAX)
        told.push(AgentEvent.parse(JSON.parse(JSON.stringify(event))))
      }
      await taken
    })
  })

  test("are pushed by themselves, many of them at once", async () => {
    for (let word = 0; word < 100; word++) output.add("stdout", `${word} `)
    await expect.poll(() => told.length).toBeGreaterThan(0)
    expect(told).toHaveLength(1)
    expect(wordsOf(told).stdout.split(" ")).toHaveLength(101)
  })

  test("don't wait when they are much: what the host takes at once is not lost", async () => {
    for (let piece = 0; piece < 30; piece++) {
      output.add("stdout", `${piece} `.padEnd(60_000, "x"))
      await setImmediate()
    }
    await shipping.flush()
    const { stdout, dropped } = wordsOf(told)
    expect([stdout.length, dropped]).toEqual([output.said, 0])
  })

  test("keep each stream's order, and where one gave way to the other", async () => {
    output.add("stdout", "one ")
    output.add("stdout", "two ")
    output.add("stderr", "three ")
    output.add("stdout", "four")
    await shipping.flush()
    expect(told).toEqual([
      { event: "output", process: "main", stream: "stdout", data: "one two " },
      { event: "output", process: "main", stream: "stderr", data: "three " },
      { event: "output", process: "main", stream: "stdout", data: "four" },
    ])
  })

  test("fit the host's lines whatever they are", async () => {
    const words = "\0\x1b\u2028".repeat(20_000) + "🙂é".repeat(20_000) + "plain ".repeat(10_000)
    output.add("stderr", words)
    await shipping.flush()
    expect(wordsOf(told)).toEqual({ stdout: "", stderr: words, dropped: 0 })
  })

  test("are lost when the host takes them too slowly, the oldest first, and it is told how many", async () => {
    const gate = Promise.withResolvers<void>()
    taken = gate.promise
    output.add("stdout", "first\n")
    const first = shipping.flush()
    await expect.poll(() => told.length).toBe(1)
    for (let line = 0; line < 100_000; line++) output.add("stdout", `line ${line}\n`)
    gate.resolve()
    await first
    await shipping.flush()
    const { stdout, dropped } = wordsOf(told)
    expect(stdout.startsWith("first\n")).toBe(true)
    expect(stdout.endsWith("line 99998\nline 99999\n")).toBe(true)
    expect(dropped).toBeGreaterThan(0)
    expect(stdout.length + dropped).toBe(output.said)
  })

  test("up to a moment are on their way when they are flushed, however much is said afterwards", async () => {
    const gate = Promise.withResolvers<void>()
    taken = gate.promise
    output.add("stdout", "before")
    const flushed = shipping.flush()
    await expect.poll(() => told.length).toBe(1)
    for (let piece = 0; piece < 300; piece++) output.add("stdout", "x".repeat(1000))
    gate.resolve()
    await flushed
    expect(wordsOf(told).stdout).toBe("before")
  })
})

describe("The agent's port", () => {
  test("takes events whole and in order, and keeps nobody waiting while nobody listens", async () => {
    const directory = await mkdtemp(join(tmpdir(), "torpor-port-"))
    const path = join(directory, "port")
    execFileSync("mknod", [path, "p"])
    try {
      // Of a pipe, as of the port, the kernel holds some and has the rest wait; a file descriptor for both ends lets it be opened alone.
      const reader = createReadStream(path, { flags: "r+" })
      await once(reader, "open")
      const tell = openPort(path)
      const event = (number: number) =>
        ({ event: "output", process: "main", stream: "stdout", data: `${number} ${"x".repeat(3000)}` }) as const
      let count = 0
      const all = Array.from({ length: 200 }, () => tell(event(count++), event(count++)))
      const lines = createInterface({ input: reader })
      let expected = 0
      for await (const line of lines) {
        expect(JSON.parse(line)).toEqual(event(expected++))
        if (expected === count) break
      }
      await Promise.all(all)
      reader.destroy()
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
})

describe("A host that listens to the words of an application", () => {
  let guest: GuestPort
  let events: AgentEvents
  let seen: AgentEvent[]
  beforeEach(async () => {
    guest = await openGuestPort()
    events = await openAgentEvents(guest.path, new AbortController().signal)
    seen = []
    events.on("event", (event) => seen.push(event))
  })
  afterEach(async () => {
    events.close()
    await guest[Symbol.asyncDispose]()
  })
  const line = `${JSON.stringify({ event: "output", process: "main", stream: "stdout", data: "x".repeat(900) })}\n`

  test("hears thousands of them at once, which other events are not", async () => {
    const socket = await guest.host
    socket.write(line.repeat(1000))
    socket.write('{"event":"exited","process":"main","code":0,"signal":null}\n')
    await expect.poll(() => seen.at(-1)?.event).toBe("exited")
    expect(seen).toHaveLength(1001)
  })

  test("reads slowly what is more: the rest waits in the guest", async () => {
    const socket = await guest.host
    const bytes = 16 * 1024 * 1024
    socket.write(line.repeat(Math.ceil(bytes / line.length)))
    await expect.poll(() => seen.length).toBeGreaterThan(0)
    // As long as anything comes from one turn of the event loop to the next, none of it is held.
    for (let before = 0; seen.length > before;) {
      before = seen.length
      for (let turn = 0; turn < 100; turn++) await setImmediate()
    }
    expect(seen.length * line.length).toBeGreaterThan(1024 * 1024)
    // What the sockets hold besides is far less.
    expect(socket.writableLength).toBeGreaterThan(bytes / 2)
    expect(seen.length * line.length).toBeLessThan(bytes / 4)
  })
})
