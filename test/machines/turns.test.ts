import { describe, expect, test } from "vitest"
import { createTurns } from "../../machines/building/turns.ts"

const never = new AbortController().signal
const isPending = async (work: Promise<unknown>) => {
  const pending = Symbol("pending")
  // Whatever is settled by now is so before this is.
  await new Promise((resolve) => setImmediate(resolve))
  return (await Promise.race([work, Promise.resolve(pending)])) === pending
}

describe("Turns", () => {
  test("are taken by as many as there are, and then in the order in which they came", async () => {
    const turns = createTurns(2)
    const [one] = [await turns.take(never), await turns.take(never)]
    const [third, fourth] = [turns.take(never), turns.take(never)]
    expect(await isPending(third)).toBe(true)
    one()
    one()
    const leave = await third
    expect(await isPending(fourth)).toBe(true)
    leave()
    await fourth
  })

  test("are never more, also when somebody comes at the very moment that one is given back", async () => {
    const turns = createTurns(1)
    const leave = await turns.take(never)
    const waiting = turns.take(never)
    leave()
    const late = turns.take(never)
    await waiting
    expect(await isPending(late)).toBe(true)
  })

  test("tell who waits how many are before it, whenever that changes", async () => {
    const turns = createTurns(1)
    const leave = await turns.take(never, () => expect.unreachable("Nobody was before it"))
    const impatient = new AbortController()
    const told: string[] = []
    const [first, second, third] = ["first", "second", "third"].map((name) =>
      turns.take(name === "second" ? impatient.signal : never, (count) => told.push(`${name}: ${count}`)),
    )
    expect(told).toEqual(["first: 0", "second: 1", "third: 2"])
    impatient.abort(new Error("enough"))
    await expect(second).rejects.toThrow("enough")
    leave()
    ;(await first)?.()
    await third
    expect(told.slice(3)).toEqual(["third: 1", "third: 0"])
  })

  test("pass by who has given up waiting", async () => {
    const turns = createTurns(1)
    const leave = await turns.take(never)
    const impatient = new AbortController()
    const given = turns.take(impatient.signal)
    const next = turns.take(never)
    impatient.abort(new Error("enough"))
    await expect(given).rejects.toThrow("enough")
    leave()
    await next
    await expect(turns.take(impatient.signal)).rejects.toThrow("enough")
  })
})
