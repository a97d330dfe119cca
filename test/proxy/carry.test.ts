import { once } from "node:events"
import { Readable, Writable } from "node:stream"
import { expect, test } from "vitest"
import { carry } from "../../proxy/carry.ts"

const CHUNK_BYTES = 64 * 1024

/** Chunks of their own memory, each of another byte. */
const makeChunks = (count: number) =>
  Array.from({ length: count }, (_, index) => Buffer.from(new Uint8Array(CHUNK_BYTES).fill(index + 1).buffer))

/** Where writing takes a turn of the event loop; what arrives is copied before, as encryption does. */
const openSlow = (arrived: Buffer[]) =>
  new Writable({
    highWaterMark: CHUNK_BYTES,
    write(chunk: Buffer, _, done) {
      arrived.push(Buffer.from(chunk))
      setImmediate(done)
    },
  })

const carryAll = async (chunks: Buffer[], isOwned: boolean) => {
  const arrived: Buffer[] = []
  const to = openSlow(arrived)
  carry(Readable.from(chunks), to, isOwned)
  await once(to, "finish")
  return Buffer.concat(arrived)
}

test("What nobody else holds arrives byte for byte, and its memory is given back", async () => {
  const chunks = makeChunks(20)
  const whole = Buffer.concat(chunks)
  expect((await carryAll(chunks, true)).equals(whole)).toBe(true)
  expect(chunks.map(({ byteLength }) => byteLength)).toEqual(chunks.map(() => 0))
})

test("What somebody else may hold is left as it is: a stream of another's, and parts of larger memory", async () => {
  const chunks = makeChunks(2)
  const whole = Buffer.concat(chunks)
  const parts = [whole.subarray(0, CHUNK_BYTES), whole.subarray(CHUNK_BYTES)]
  for (const [given, isOwned] of [
    [chunks, false],
    [parts, true],
  ] as const) {
    expect((await carryAll([...given], isOwned)).equals(whole)).toBe(true)
    expect(given.map(({ byteLength }) => byteLength)).toEqual([CHUNK_BYTES, CHUNK_BYTES])
  }
})

test("No more is read than is taken, and nothing is written to an end that is closed", async () => {
  let wrote = 0
  const from = Readable.from(makeChunks(10))
  // It never says that it took one.
  const to = new Writable({ highWaterMark: CHUNK_BYTES, write: () => wrote++ })
  carry(from, to, true)
  await once(from, "pause")
  await new Promise(setImmediate)
  expect([wrote, from.isPaused(), from.readableEnded]).toEqual([1, true, false])
  to.destroy()
  from.resume()
  await once(from, "end")
  expect(wrote).toBe(1)
})
