import { Readable } from "node:stream"
import { buffer } from "node:stream/consumers"
import { pipeline } from "node:stream/promises"
import { expect, onTestFinished, test, vi } from "vitest"
import { createPace, createPacedStream, type Pace } from "../../../proxy/limits/bandwidth.ts"

test("Bytes wait until those before them had their time", () => {
  let now = 1000
  const pace = createPace(1000, () => now)
  expect([pace.reserve(100), pace.reserve(100), pace.reserve(300)]).toEqual([0, 100, 400])
  now += 400
  expect(pace.reserve(50)).toBe(50)
  // A rest earns a tenth of a second, however long it was.
  now += 3600_000
  expect([pace.reserve(100), pace.reserve(50)]).toEqual([0, 50])
})

test("All streams of a pace wait for each other's bytes, and every byte arrives in its order", async () => {
  const rate = 4 * 1024 * 1024
  const pace = createPace(rate)
  let reserved = 0
  const counted: Pace = {
    reserve(bytes) {
      reserved += bytes
      return pace.reserve(bytes)
    },
  }
  const bodies = ["a", "b"].map((letter) =>
    Array.from({ length: 8 }, (_, at) => Buffer.alloc(16_384, `${letter}${at}`)),
  )
  const got = await Promise.all(bodies.map((chunks) => buffer(Readable.from(chunks).pipe(createPacedStream(counted)))))
  expect(got.map((body, index) => body.equals(Buffer.concat(bodies[index] as Buffer[])))).toEqual([true, true])
  expect(reserved).toBe(16 * 16_384)
})

test("A stream that ends early waits no longer", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
  onTestFinished(() => void vi.useRealTimers())
  const stuck = createPacedStream({ reserve: () => 2 ** 30 })
  const over = pipeline(Readable.from([Buffer.alloc(1), Buffer.alloc(1)]), stuck, { end: true })
  await new Promise(setImmediate)
  expect(vi.getTimerCount()).toBe(1)
  stuck.destroy(new Error("The client gave up"))
  await expect(over).rejects.toThrow("The client gave up")
  expect(vi.getTimerCount()).toBe(0)
})
