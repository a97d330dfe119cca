import { once } from "node:events"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { openThawPort, type ThawPort } from "../../src/agent/thaw.ts"
import { openGuestPort, writeEndlessly, type GuestPort } from "./guest-port.ts"

const never = new AbortController().signal
const input = {
  hostname: "vm-1",
  machineId: "0123456789abcdef0123456789abcdef",
  incarnation: 7,
  secret: Buffer.alloc(32, 5),
}

let guest: GuestPort
let port: ThawPort
beforeEach(async () => {
  guest = await openGuestPort()
  port = await openThawPort(guest.path, never)
})
afterEach(async () => {
  port.close()
  await guest[Symbol.asyncDispose]()
})

/** The next question, and its number with the space behind it. */
const question = async () => {
  const line = (await guest.lines.next()).value as string
  const [number = ""] = /^[0-9a-f]{16} /.exec(line) ?? []
  return { number, asked: line.slice(number.length) }
}
/** The guest writes the number of the next question, and then this. */
const answer = async (...pieces: (string | Buffer)[]) => {
  const { number, asked } = await question()
  for (const piece of [number, ...pieces]) (await guest.host).write(piece)
  return asked
}
/** How a freeze ends that is answered like this. */
const refusal = async (...pieces: (string | Buffer)[]) => {
  const frozen = port.freeze(never).catch((error: unknown) => error)
  await answer(...pieces)
  return ((await frozen) as Error).message
}

describe("The thaw port", () => {
  test("asks in one line and is content with OK, in however many pieces", async () => {
    const frozen = port.freeze(never)
    expect(await answer("O", "K", "\n")).toBe("F")
    await frozen
  })

  test("says time, name, machine id, entropy, secret and incarnation, and never the same entropy twice", async () => {
    const entropies = new Set<string>()
    for (let time = 0; time < 2; time++) {
      const thawed = port.thaw(input, never)
      const line = await answer("OK\n")
      await thawed
      const [, entropy = ""] =
        /^T \d{19} vm-1 0123456789abcdef0123456789abcdef ([0-9a-f]{128}) (?:05){32} 7$/.exec(line) ?? []
      expect(entropy).not.toBe("")
      entropies.add(entropy)
    }
    expect(entropies.size).toBe(2)
  })

  test("says the same to a guest that only rehearses, in another command", async () => {
    const rehearsed = port.rehearse(input, never)
    expect(await answer("OK\n")).toMatch(/^R \d{19} vm-1 0123456789abcdef0123456789abcdef [0-9a-f]{128} (?:05){32} 7$/)
    await rehearsed
  })

  test("says only the time to a guest that was stopped", async () => {
    const set = port.setClock(never)
    expect(await answer("OK\n")).toMatch(/^C \d{19}$/)
    await set
  })

  test("keeps questions and answers together when two are asked at once", async () => {
    const [frozen, thawed] = [port.freeze(never), port.thaw(input, never)]
    const first = await question()
    await answer(`ERR clock: no\n${first.number}OK\n`)
    await frozen
    await expect(thawed).rejects.toThrow("The guest refused: ERR clock: no")
  })

  test("is found by nobody where there is none", async () => {
    await expect(openThawPort(`${guest.path}-not`, never)).rejects.toThrow("ENOENT")
    await expect(openThawPort(guest.path, AbortSignal.abort(new Error("enough")))).rejects.toThrow()
  })
})

describe("A guest on the thaw port", () => {
  test("that refuses is quoted without anything that acts on a terminal", async () => {
    expect(await refusal(Buffer.from("ERR \x1b[31mred\x1b]0;title\x07\r\x9b2J \0 \x7f\n", "latin1"))).toBe(
      "The guest refused: ERR \\u001b[31mred\\u001b]0;title\\u0007\\u000d\\u009b2J \\u0000 \\u007f",
    )
  })

  test("that answers with garbage is refused, and asked again all the same", async () => {
    expect(await refusal(Buffer.from([0xff, 0xfe, 0x00, 0x0a]))).toBe("The guest refused: ÿþ\\u0000")
    expect(await refusal("\n")).toBe("The guest refused: ")
    expect(await refusal("OK OK\n")).toBe("The guest refused: OK OK")
    const frozen = port.freeze(never)
    await answer("OK\n")
    await frozen
  })

  test("whose line has no end is not listened to any more", async () => {
    const frozen = expect(port.freeze(never)).rejects.toThrow("The guest's answer is too long")
    await question()
    await writeEndlessly(await guest.host, "x".repeat(4096))
    await frozen
    await expect(port.thaw(input, never)).rejects.toThrow("The guest's answer is too long")
  })

  test("that answers without being asked is not listened to any more", async () => {
    await writeEndlessly(await guest.host, "OK\n".repeat(1000))
    await expect(port.freeze(never)).rejects.toThrow("The guest answered what it was not asked")
  })

  test("that answers twice, or in another's place, has not answered the next question with it", async () => {
    const frozen = port.freeze(never)
    const { number } = await question()
    ;(await guest.host).write(`OK\n${"0".repeat(16)} OK\n${number}OK\n${number}OK\n`)
    await frozen
    const thawed = port.thaw(input, never).catch((error: unknown) => error)
    await answer("ERR clock: no\n")
    expect(await thawed).toMatchObject({ message: "The guest refused: ERR clock: no" })
  })

  test("that doesn't answer is waited for no longer than the caller wants", async () => {
    const patience = new AbortController()
    const frozen = expect(port.freeze(patience.signal)).rejects.toThrow("enough")
    await question()
    patience.abort(new Error("enough"))
    await frozen
    await expect(port.freeze(patience.signal)).rejects.toThrow("enough")
  })

  test("whose answer comes late has not answered the next question with it", async () => {
    const patience = new AbortController()
    const frozen = expect(port.freeze(patience.signal)).rejects.toThrow("enough")
    const late = await question()
    patience.abort(new Error("enough"))
    await frozen
    const thawed = port.thaw(input, never).catch((error: unknown) => error)
    ;(await guest.host).write(`${late.number}OK\n`)
    await answer("ERR clock: no\n")
    expect(await thawed).toMatchObject({ message: "The guest refused: ERR clock: no" })
  })

  test("that goes away is known to be gone, by who waits and by who asks afterwards", async () => {
    const frozen = expect(port.freeze(never)).rejects.toThrow("The guest's thaw port was closed")
    await question()
    ;(await guest.host).end("O")
    await frozen
    await expect(port.freeze(never)).rejects.toThrow("The guest's thaw port was closed")
  })

  test("loses its connection when the port is closed, and so does who waits", async () => {
    const frozen = expect(port.freeze(never)).rejects.toThrow("The guest's thaw port was closed")
    const socket = await guest.host
    await question()
    port.close()
    await frozen
    if (!socket.destroyed) await once(socket, "close")
  })
})
