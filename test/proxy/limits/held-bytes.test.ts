import fc from "fast-check"
import { expect, test } from "vitest"
import { createHeldBytes } from "../../../proxy/limits/held-bytes.ts"

test("A key may hold half of what all may, and everything is given back", () => {
  const held = createHeldBytes(100)
  const [a, b, c] = [held.open("a"), held.open("a"), held.open("b")]
  expect([a.take(30), b.take(20), b.take(1), c.take(50), c.take(1)]).toEqual([
    undefined,
    undefined,
    "own",
    undefined,
    "own",
  ])
  expect(held.open("c").take(1)).toBe("all")
  a.release()
  a.release()
  expect([held.bytes, b.take(30), a.take(1)]).toEqual([70, undefined, "own"])
  for (const one of [a, b, c]) one.release()
  expect(held.bytes).toBe(0)
})

test("Whatever is taken and given back, in any order, no more is held than may be", () => {
  const step = fc.tuple(fc.nat(4), fc.option(fc.nat(60)))
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const held = createHeldBytes(100)
      const holdings = ["a", "a", "b", "b", "c"].map((key) => ({ holding: held.open(key), bytes: 0 }))
      for (const [at, bytes] of steps) {
        const one = holdings[at]
        if (one === undefined) continue
        if (bytes === null) {
          one.holding.release()
          one.bytes = 0
        } else if (one.holding.take(bytes) === undefined) one.bytes += bytes
        expect(held.bytes).toBe(holdings.reduce((sum, { bytes: own }) => sum + own, 0))
        expect(held.bytes).toBeLessThanOrEqual(100)
      }
    }),
  )
})
