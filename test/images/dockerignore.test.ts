import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { parseIgnore } from "../../images/dockerignore.ts"

const excluded = (lines: string | readonly string[], paths: readonly string[]) =>
  parseIgnore([lines].flat().join("\n")).excludedOf(paths).toSorted()

describe("A pattern of .dockerignore leaves out", () => {
  test.for<[pattern: string, path: string, isExcluded: boolean]>([
    ["a", "a", true],
    ["a", "b/a", false],
    ["a", "ab", false],
    ["/a", "a", true],
    ["./a//b/", "a/b", true],
    ["a/../b", "b", true],
    ["../a", "a", false],
    [".", "a", false],
    ["/", "a", false],
    ["  a\t", "a", true],
    ["a\r", "a", true],
    ["\uFEFFa", "a", true],
    ["#a", "#a", false],
    [" #a", "#a", true],
    ["\\#a", "#a", true],
    ["A", "a", false],
    ["*", "a", true],
    ["*", ".a", true],
    ["*/b", "a/b", true],
    ["*/b", "a/a/b", false],
    ["*/*/b*", "a/a/bc", true],
    ["a?c", "abc", true],
    ["a?c", "a/c", false],
    ["a?c", "a😀c", true],
    ["a.c", "abc", false],
    ["[a-c]", "b", true],
    ["[^a-c]", "b", false],
    ["a\\*b", "a*b", true],
    ["a\\*b", "aab", false],
    ["**", "a", true],
    ["**/b", "b", true],
    ["**/b", "a/a/b", true],
    ["**/b", "ab", false],
    ["**b", "a/b", true],
    ["**b", "ab", false],
    ["a/**", "a/b/c", true],
    ["a/**/c", "a/c", true],
    ["a/**/c", "a/b/b/c", true],
    ["a/**/c", "ab/c", false],
    ["a**c", "ac", true],
    ["a**c", "ab/b/c", true],
    ["a**c", "abc", false],
    ["a**/c", "ac", true],
    ["a****c", "ab/b/c", true],
    ["a**", "ab", true],
    ["a**", "ba", false],
    ["**/*.py?", "a/b.pyc", true],
    ["[*][*]", "**", true],
    ["**/**/b/**", "b/c", true],
  ])("%j: of %j it is %j", ([pattern, path, isExcluded]) => {
    expect(excluded(pattern, [path]).length === 1).toBe(isExcluded)
  })

  test("a folder with all that is in it, and is told once", () => {
    expect(excluded("a", ["a", "a/b", "a/c/d", "ab"])).toEqual(["a"])
    expect(excluded("**/node_modules", ["node_modules/a/b", "x/node_modules/c", "x/y"])).toEqual([
      "node_modules",
      "x/node_modules",
    ])
  })

  test("a folder only if nothing in it was taken back", () => {
    const paths = ["a", "a/b", "a/c", "a/d/e"]
    expect(excluded(["a", "!a/c"], paths)).toEqual(["a/b", "a/d"])
    expect(excluded(["a/*", "!a/d/e"], paths)).toEqual(["a/b", "a/c"])
    expect(excluded(["*", "! /a/d/"], paths)).toEqual(["a/b", "a/c"])
    expect(excluded(["a", "!x"], paths)).toEqual(["a"])
  })

  test("what the last one says that matches", () => {
    const paths = ["README.md", "a.md", "b/c.md"]
    expect(excluded(["**/*.md", "!README.md"], paths)).toEqual(["a.md", "b/c.md"])
    expect(excluded(["!README.md", "**/*.md"], paths)).toEqual(["README.md", "a.md", "b/c.md"])
    expect(excluded(["*.md", "!*.md", "a.md"], paths)).toEqual(["a.md"])
  })
})

/** Docker's own way, as it documents it for one pattern: an expression over the whole path, tried on the folders above as well. */
const byExpression = (pattern: string, path: string): boolean => {
  const source = pattern.replaceAll(/\*\*\/?$|\*\*\/?|[*?.]/g, (token, at: number) => {
    if (token.startsWith("**")) return at + token.length === pattern.length ? ".*" : "(?:.*/)?"
    return token === "*" ? "[^/]*" : token === "?" ? "[^/]" : "\\."
  })
  const expression = new RegExp(`^${source}$`)
  return path.split("/").some((_, depth, parts) => expression.test(parts.slice(0, depth + 1).join("/")))
}

test("Any pattern of stars means what Docker's own expression of it means", () => {
  const ofParts = (part: fc.Arbitrary<string>) =>
    fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"))
  const name = fc.string({ unit: fc.constantFrom("a", "b", "."), minLength: 1, maxLength: 3 })
  const plain = name.filter((part) => part !== "." && part !== "..")
  const glob = fc.string({ unit: fc.constantFrom("a", "b", "*", "**", "?"), minLength: 1, maxLength: 4 })
  // More than two stars are read two by two; Docker's expressions of those are no expressions at all.
  const pattern = ofParts(fc.oneof(plain, glob)).filter((text) => !text.includes("***"))
  let matching = 0
  fc.assert(
    fc.property(pattern, ofParts(plain), (text, path) => {
      const expected = byExpression(text, path)
      if (expected) matching++
      expect(excluded(text, [path]).length === 1, `${text} on ${path}`).toBe(expected)
    }),
    { numRuns: 5000 },
  )
  expect(matching).toBeGreaterThan(100)
})

describe("A .dockerignore is refused", () => {
  test.for<[text: string, words: string]>([
    ["a\n[", "the malformed pattern '[' in line 2"],
    ["a\\", "the malformed pattern 'a\\' in line 1"],
    ["!", "the malformed pattern '!' in line 1"],
    [Array.from("abcdefgh").join("**"), "too many ** in line 1"],
    ["a\n" + "a**".repeat(100_000), "more than 4096 characters in line 2"],
    ["a**".repeat(1300), "too many ** in line 1"],
    ["a\n".repeat(10_001), "more than 10000 patterns"],
  ])("%j", ([text, words]) => {
    expect(() => parseIgnore(text)).toThrow(`The code artifact's .dockerignore has ${words}`)
  })

  test("when it would take too long, and not when it is only long", () => {
    const paths = (folder: string) => Array.from({ length: 50_000 }, (_, index) => `${folder}/file-${index}.py`)
    const hostile = "*a*a*a*c\n".repeat(1000)
    expect(() => excluded(hostile, paths("a".repeat(100)))).toThrow("patterns that take too long on an archive")
    expect(excluded("c\n**/*.pyc\n".repeat(20), paths("app"))).toEqual([])
  })
})
