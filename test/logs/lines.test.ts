import fc from "fast-check"
import { expect, test } from "vitest"
import { createLines } from "../../src/logs/lines.ts"

const linesOf = (...pieces: string[]) => {
  const found: string[] = []
  const lines = createLines((line) => found.push(line))
  for (const piece of pieces) lines.add(piece)
  lines.end()
  return { found, last: lines.last }
}

test("Lines are the same wherever the text was cut", () => {
  const text = fc.array(fc.constantFrom("\n", "\r\n", "a", "bc ", "", "é🙂")).map((parts) => parts.join(""))
  fc.assert(
    fc.property(text, fc.array(fc.nat()), (whole, cuts) => {
      const at = cuts.map((cut) => cut % (whole.length + 1)).toSorted((a, b) => a - b)
      const pieces = [0, ...at].map((from, index) => whole.slice(from, at[index] ?? whole.length))
      const expected = whole.split(/\r?\n/)
      if (expected.at(-1) === "") expected.pop()
      expect(linesOf(...pieces).found).toEqual(expected)
    }),
  )
})

test("A line that is too long is several, and nothing of it is lost", () => {
  const long = "0123456789".repeat(5000)
  const { found } = linesOf(long.slice(0, 123), `${long.slice(123)}\nnext`)
  expect(found.at(-1)).toBe("next")
  expect(found.slice(0, -1).join("")).toBe(long)
  expect(Math.max(...found.map(({ length }) => length))).toBe(16 * 1024)
  expect(found).toHaveLength(5)
})

test("The last line that said something is quoted without anything that acts on a terminal", () => {
  expect(linesOf("first\n", "  the reason  \n", "\n \n").last).toBe("the reason")
  expect(linesOf("fine\n\x1b[31mfailed\0\x07\x1b[0m\n  \n").last).toBe("\\u001b[31mfailed\\u0000\\u0007\\u001b[0m")
  expect(linesOf("x".repeat(20_000)).last).toHaveLength(300)
})
