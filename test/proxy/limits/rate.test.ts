import fc from "fast-check"
import { expect, test } from "vitest"
import { createRate } from "../../../proxy/limits/rate.ts"

test("A second's worth is let in at once, then one whenever there is room again", () => {
  let now = 0
  const rate = createRate(4, () => now)
  const taken = () => [1, 2, 3, 4, 5].map(() => rate.take("vm")).filter(Boolean).length
  expect(taken()).toBe(4)
  now += 249
  expect(taken()).toBe(0)
  now += 1
  expect(taken()).toBe(1)
  now += 3600_000
  expect(taken()).toBe(4)
})

test("One key's flood costs another nothing", () => {
  const rate = createRate(1, () => 0)
  for (let count = 0; count < 100; count++) rate.take("flood")
  expect([rate.take("flood"), rate.take("other")]).toEqual([false, true])
})

test("Fewer than one in a second are let in one by one", () => {
  let now = 0
  const rate = createRate(0.5, () => now)
  expect([rate.take("vm"), rate.take("vm")]).toEqual([true, false])
  now += 2000
  expect([rate.take("vm"), rate.take("vm")]).toEqual([true, false])
})

test("A second's worth is let in by a clock that counts in fractions", () => {
  let now = 0
  const rate = createRate(1, () => now)
  const others = createRate(3, () => now)
  for (let key = 0; key < 5000; key++) {
    now += 12.3456789
    expect(rate.take(String(key)), `at ${now}`).toBe(true)
    expect(
      [1, 2, 3].every(() => others.take(String(key))),
      `at ${now}`,
    ).toBe(true)
  }
})

test("However they come, no second has more than two seconds' worth", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 30 }),
      (perSecond, gaps) => {
        let now = 0
        const rate = createRate(perSecond, () => now)
        const taken: number[] = []
        for (const gap of gaps) {
          now += gap
          for (let tries = 0; tries < 3; tries++) if (rate.take("vm")) taken.push(now)
        }
        const most = Math.max(0, ...taken.map((at) => taken.filter((time) => time >= at && time < at + 1000).length))
        expect(most).toBeLessThanOrEqual(2 * perSecond)
      },
    ),
  )
})
