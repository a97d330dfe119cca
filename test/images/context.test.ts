import { describe, expect, test } from "vitest"
import { createContext, type ContextEntry } from "../../images/context.ts"
import { parseGlobPart } from "../../images/dockerfile/glob.ts"

describe("A glob is Go's", () => {
  // From the table of Go's own tests of path.Match, the parts without a slash.
  test.for<[pattern: string, name: string, matches: boolean | "bad"]>([
    ["abc", "abc", true],
    ["*", "abc", true],
    ["*", "", true],
    ["*c", "abc", true],
    ["a*", "a", true],
    ["a*", "abc", true],
    ["a*b*c*d*e*", "axbxcxdxe", true],
    ["a*b*c*d*e*", "axbxcxdxexxx", true],
    ["a*b?c*x", "abxbbxdbxebxczzx", true],
    ["a*b?c*x", "abxbbxdbxebxczzy", false],
    ["ab[c]", "abc", true],
    ["ab[b-d]", "abc", true],
    ["ab[e-g]", "abc", false],
    ["ab[^c]", "abc", false],
    ["ab[^b-d]", "abc", false],
    ["ab[^e-g]", "abc", true],
    ["a\\*b", "a*b", true],
    ["a\\*b", "ab", false],
    ["a?b", "a☺b", true],
    ["a[^a]b", "a☺b", true],
    ["a???b", "a☺b", false],
    ["a[^a][^a][^a]b", "a☺b", false],
    ["[a-ζ]*", "α", true],
    ["*[a-ζ]", "A", false],
    ["[\\]a]", "]", true],
    ["[\\-]", "-", true],
    ["[x\\-]", "x", true],
    ["[x\\-]", "-", true],
    ["[x\\-]", "z", false],
    ["[\\-x]", "x", true],
    ["[\\-x]", "a", false],
    ["[]a]", "]", "bad"],
    ["[-]", "-", "bad"],
    ["[x-]", "x", "bad"],
    ["[-x]", "x", "bad"],
    ["\\", "a", "bad"],
    ["[a-b-c]", "a", "bad"],
    ["[", "a", "bad"],
    ["[^", "a", "bad"],
    ["[^bc", "a", "bad"],
    ["a[", "ab", "bad"],
    ["*x", "xxx", true],
    ["?", "😀", true],
    ["arr[[]0].txt", "arr[0].txt", true],
    [".*", ".env", true],
    ["*", ".env", true],
    ["**", "abc", true],
  ])("%s of %s: %s", ([pattern, name, matches]) => {
    expect(parseGlobPart(pattern)?.matches(name) ?? "bad").toBe(matches)
  })

  test("and takes no time that its cost doesn't tell of", () => {
    const part = parseGlobPart(`${"*a".repeat(100)}b`)
    expect(part?.matches("a".repeat(255))).toBe(false)
    expect(part?.cost(255)).toBeLessThan(60_000)
  })
})

const file = (path: string, digest = "1", mode = 0o644): ContextEntry => ({ path, kind: "file", mode, digest })

describe("A build context", () => {
  const context = createContext(
    ["a.txt", "b.txt", "src/x.js", "src/y.ts", "src/lib/z.js", "src2/x.js"].map((path) => file(path)),
  )

  test.for<[source: string, paths: string[]]>([
    [".", ["."]],
    ["", ["."]],
    ["/", ["."]],
    ["a.txt", ["a.txt"]],
    ["/a.txt", ["a.txt"]],
    ["./src/", ["src"]],
    ["src/lib/z.js", ["src/lib/z.js"]],
    ["none", []],
    ["a.txt/b", []],
    ["*.txt", ["a.txt", "b.txt"]],
    ["src*", ["src", "src2"]],
    ["src*/x.js", ["src/x.js", "src2/x.js"]],
    ["src/*", ["src/lib", "src/x.js", "src/y.ts"]],
    ["*/*/*", ["src/lib/z.js"]],
    ["*.go", []],
    ["constructor", []],
    ["__proto__", []],
  ])("finds %s", ([source, paths]) => expect(context.find(source).paths).toEqual(paths))

  test("gives a folder another digest when anything in it changes, and nothing else", () => {
    const changed = createContext([file("d/e/f", "2"), file("d/g"), file("h")])
    const earlier = createContext([file("h"), file("d/g"), file("d/e/f")])
    expect(changed.find("d").digest).not.toBe(earlier.find("d").digest)
    expect(changed.find("*").digest).not.toBe(earlier.find("*").digest)
    expect(changed.find("d/g").digest).toBe(earlier.find("d/g").digest)
    expect(changed.find("h").digest).toBe(earlier.find("h").digest)
    const moved = createContext([file("i"), file("d/g"), file("d/e/f")])
    expect(moved.find("[hi]").digest).not.toBe(earlier.find("[hi]").digest)
  })

  test("refuses malformed globs, and those that would take too long", () => {
    expect(() => context.find("src/[")).toThrow("syntax error in pattern: [")
    const large = createContext(Array.from({ length: 50_000 }, (_, n) => file(`${"a".repeat(100)}${n}`)))
    expect(() => large.find(`${"*a".repeat(100)}b`)).toThrow("take too long")
  })
})
