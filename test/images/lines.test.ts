import fc from "fast-check"
import { expect, test } from "vitest"
import { createLines } from "../../images/build.ts"

const linesOf = (...pieces: string[]) => {
  const seen: string[] = []
  const lines = createLines((line) => seen.push(line))
  for (const piece of pieces) lines.add(piece)
  lines.end()
  return { seen, last: lines.last }
}

test("Output is the same lines, however it was cut into pieces", () => {
  const text = "one\ntwo\n\n  three  \nfour"
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat({ max: text.length })), (cuts) => {
      const places = [0, ...cuts.toSorted((one, other) => one - other), text.length]
      const pieces = places.slice(1).map((to, index) => text.slice(places[index], to))
      expect(linesOf(...pieces)).toEqual({ seen: ["one", "two", "", "  three  ", "four"], last: "four" })
    }),
  )
})

test("The last line that said something is quoted without anything that acts on a terminal, or that Postgres doesn't take", () => {
  expect(linesOf("fine\n\x1b[31mfailed\0\x07\x1b[0m\n  \n").last).toBe("\\u001b[31mfailed\\u0000\\u0007\\u001b[0m")
})

test("A line without an end is cut", () => {
  const { seen, last } = linesOf(...Array.from({ length: 100 }, () => "x".repeat(1000)))
  expect(Math.max(...seen.map((line) => line.length))).toBe(2000)
  expect(last).toHaveLength(300)
})
