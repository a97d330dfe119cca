import { once } from "node:events"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { openAgentEvents, type AgentEvents } from "../../src/agent/events.ts"
import type { AgentEvent } from "../../src/agent/protocol.ts"
import { openGuestPort, writeEndlessly, type GuestPort } from "./guest-port.ts"

const never = new AbortController().signal
const hello = '{"event":"hello","protocol":1}\n'
const exited = '{"event":"exited","process":"main","code":0,"signal":null}\n'

let guest: GuestPort
let events: AgentEvents
let seen: AgentEvent[]
/** Why the host stopped listening; nothing when the guest went away. */
let closed: Promise<string | undefined>
beforeEach(async () => {
  guest = await openGuestPort()
  events = await openAgentEvents(guest.path, never)
  seen = []
  events.on("event", (event) => seen.push(event))
  closed = once(events, "close").then(([reason]) => reason as string | undefined)
})
afterEach(async () => {
  events.close()
  await guest[Symbol.asyncDispose]()
})
const says = async (...pieces: (string | Buffer)[]) => {
  const socket = await guest.host
  for (const piece of pieces) socket.write(piece)
}

describe("What a guest says by itself", () => {
  test("arrives line by line, in however many pieces, until it goes away", async () => {
    await says(hello.slice(0, 9), hello.slice(9) + exited.slice(0, 3), exited.slice(3))
    ;(await guest.host).end()
    expect(await closed).toBeUndefined()
    expect(seen).toEqual([
      { event: "hello", protocol: 1 },
      { event: "exited", process: "main", code: 0, signal: null },
    ])
  })

  test("holds nothing that it shouldn't: members that nobody knows are left out", async () => {
    await says('{"event":"hello","protocol":1,"__proto__":{"polluted":true},"more":[1]}\n')
    ;(await guest.host).end()
    await closed
    expect(seen).toEqual([{ event: "hello", protocol: 1 }])
    expect({}).not.toHaveProperty("polluted")
  })

  test.for<[what: string, line: string | Buffer]>([
    ["an empty line", "\n"],
    ["no JSON", "hello\n"],
    ["half of it", `${hello.slice(0, -2)}\n`],
    ["bytes that are no text", Buffer.from([0xff, 0x00, 0xfe, 0x0a])],
    ["JSON of another kind", "null\n"],
    ["a list", `[${hello.trim()}]\n`],
    ["an event that nobody knows", '{"event":"root","protocol":1}\n'],
    ["a number that is none", '{"event":"hello","protocol":1e999}\n'],
    ["a fraction", '{"event":"exited","process":"main","code":0.5,"signal":null}\n'],
    ["a name that is too long", `{"event":"exited","process":"${"m".repeat(65)}","code":0,"signal":null}\n`],
    ["a signal that acts on a terminal", '{"event":"exited","process":"main","code":0,"signal":"SIG\\u001b[2J"}\n'],
    ["a signal of two lines", '{"event":"exited","process":"main","code":0,"signal":"SIGTERM\\nOK"}\n'],
  ])("ends with %s, and nothing after it is heard", async ([, line]) => {
    await says(hello, line, hello)
    expect(await closed).toBe("the guest sent a malformed event")
    expect(seen).toHaveLength(1)
  })

  test("ends with a line that is too long, whole or not", async () => {
    await says(`{"event":"hello","protocol":1,"more":"${"x".repeat(5000)}"}\n`)
    expect(await closed).toBe("the guest sent an event that is too long")
    expect(seen).toEqual([])
  })

  test("ends with a line that has no end", async () => {
    await writeEndlessly(await guest.host, "x".repeat(1000))
    expect(await closed).toBe("the guest sent an event that is too long")
  })

  test("ends when it floods its port", async () => {
    await writeEndlessly(await guest.host, exited.repeat(50))
    expect(await closed).toBe("the guest flooded its event port")
    expect(seen.length).toBeLessThanOrEqual(2 * 200)
  })

  test("ends when nobody wants to hear more", async () => {
    const socket = await guest.host
    events.close()
    expect(await closed).toBeUndefined()
    if (!socket.destroyed) await once(socket, "close")
  })
})
