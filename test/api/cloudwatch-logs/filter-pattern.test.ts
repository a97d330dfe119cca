import { describe, expect, test } from "vitest"
import { parseFilterPattern } from "../../../src/api/aws/cloudwatch-logs/filter-pattern/pattern.ts"

const refusal = (pattern: string) => {
  try {
    parseFilterPattern(pattern)
  } catch (error) {
    return (error as Error).message
  }
  return undefined
}

describe("Terms", () => {
  const LINE = 'ERROR 500: the "big" disk is full, user_1'
  test.each([
    ["", true],
    ["  ", true],
    ["ERROR", true],
    ["error", false],
    ["disk ERROR", true],
    ["disk WARN", false],
    ['"disk is full"', true],
    ['"disk  is full"', false],
    [String.raw`"the \"big\" disk"`, true],
    ["-ERROR", false],
    ["-WARN", true],
    ["ERROR -full", false],
    ['ERROR -"not full"', true],
    ["?WARN ?ERROR", true],
    ["?WARN ?INFO", false],
    ['?WARN ?"500:"', true],
    ["user_1", true],
  ])("%s: %s", (pattern, wanted) => expect(parseFilterPattern(pattern)(LINE)).toBe(wanted))

  test.each([
    [
      "a-b",
      "Invalid filter pattern: Invalid character(s) in term 'a-b': what has others than letters, digits and _ belongs in quotes.",
    ],
    [
      '"open',
      "Invalid filter pattern: Invalid character(s) in term '\"open': what has others than letters, digits and _ belongs in quotes.",
    ],
    [
      'a"b"',
      "Invalid filter pattern: Invalid character(s) in term 'a\"b\"': what has others than letters, digits and _ belongs in quotes.",
    ],
    ['""', "Invalid filter pattern: a term is empty."],
    ["?a b", "Invalid filter pattern: ?terms cannot stand beside other terms."],
    ["%E[0-9]+%", "Invalid filter pattern: Torpor does not match regular expressions (%...%)."],
    ["[ip, user, size > 5]", "Invalid filter pattern: Torpor does not match space-delimited fields ([a, b, ...])."],
  ])("that are none, %s, are refused", (pattern, message) => expect(refusal(pattern)).toBe(message))
})

describe("A condition on JSON", () => {
  const LINE = JSON.stringify({
    level: "ERROR",
    message: 'a "quoted" thing',
    status: 404,
    ratio: -1.5,
    ok: false,
    no: null,
    empty: "",
    user: { name: "ada", "x-y": 1 },
    list: [{ id: 7 }, "b"],
  })
  test.each([
    ['{ $.level = "ERROR" }', true],
    ["{$.level=ERROR}", true],
    ['{ $.level = "error" }', false],
    ['{ $.level = "ERR*" }', true],
    ['{ $.level = "*R*R" }', true],
    ['{ $.level = "*RX*" }', false],
    ["{ $.level = E*ERROR }", false],
    [String.raw`{ $.message = "a \"quoted\" *" }`, true],
    ['{ $.level != "ERROR" }', false],
    ['{ $.level != "INFO" }', true],
    ['{ $.none != "INFO" }', false],
    ['{ $.empty = "" }', true],
    ["{ $.status = 404 }", true],
    ['{ $.status = "404" }', false],
    ["{ $.status = 4* }", true],
    ["{ $.status != 404 }", false],
    ["{ $.status >= 404 }", true],
    ["{ $.status > 404 }", false],
    ["{ $.status <= 404 }", true],
    ["{ $.status < 404.5 }", true],
    ["{ $.ratio = -1.5e0 }", true],
    ["{ $.level > 1 }", false],
    ["{ $.ok IS FALSE }", true],
    ["{ $.ok is true }", false],
    ["{ $.no IS NULL }", true],
    ["{ $.none IS NULL }", false],
    ["{ $.none NOT EXISTS }", true],
    ["{ $.no NOT EXISTS }", false],
    ["{ $.user.name = ada }", true],
    ["{ $.user.x-y = 1 }", true],
    ["{ $.list[0].id = 7 }", true],
    ['{ $.list[1] = "b" }', true],
    ["{ $.list[2] NOT EXISTS }", true],
    ["{ $.level.length NOT EXISTS }", true],
    ["{ $.constructor NOT EXISTS }", true],
    ["{ $.status = 1 || $.level = ERROR && $.ok IS FALSE }", true],
    ["{ ($.status = 404 || $.level = X) && $.ok IS TRUE }", false],
    ["{ $.status = 404 || $.level = X && $.ok IS TRUE }", true],
    ["{ (($.status = 404)) }", true],
  ])("%s: %s", (pattern, wanted) => expect(parseFilterPattern(pattern)(LINE)).toBe(wanted))

  test.each(["plain text", '"text"', "5", "{ broken", "", "null"])("holds of no line that is %s", (line) =>
    expect(parseFilterPattern("{ $.a NOT EXISTS }")(line)).toBe(false),
  )

  test.each([
    ["{", "its end where more was expected"],
    ["{ }", "'}' is no selector that Torpor knows: it is like $.name, $.outer.inner or $.list[0]"],
    ["{ $.a }", "'}' is no comparison"],
    ["{ $.a = }", "'}' where a value was expected"],
    ["{ $.a = 1", "its end where } was expected"],
    ["{ $.a = 1 } x", "'x' behind its end"],
    ["{ $.a = 1 && }", "'}' is no selector that Torpor knows: it is like $.name, $.outer.inner or $.list[0]"],
    ["{ $.a = 1 $.b = 2 }", "'$.b' where } was expected"],
    ["{ ($.a = 1 }", "'}' where ) was expected"],
    ["{ $.* = 1 }", "'$.*' is no selector that Torpor knows: it is like $.name, $.outer.inner or $.list[0]"],
    ["{ $.a > x }", "> is followed by a number, and not by 'x'"],
    ["{ $.a = %x% }", "Torpor does not match regular expressions (%...%)"],
    ["{ $.a IS 5 }", "IS is followed by TRUE, FALSE or NULL, and not by '5'"],
    ["{ $.a NOT NULL }", "NOT is followed by EXISTS"],
    ['{ $.a = "open }', "'\"open }' is not understood"],
    ["{ $.a & 1 }", "'& 1 }' is not understood"],
  ])("that is none, %s, is refused", (pattern, why) => expect(refusal(pattern)).toBe(`Invalid filter pattern: ${why}.`))

  test("takes no longer for a pattern of many stars", () => {
    const many = parseFilterPattern(`{ $.a = "${"*a".repeat(400)}b" }`)
    expect(many(JSON.stringify({ a: "a".repeat(100_000) }))).toBe(false)
  })
})
