import { describe, expect, test } from "vitest"
import { contentOf, openingOf, toRawWords } from "../../../images/dockerfile/text/heredoc.ts"
import { toExecForm } from "../../../images/dockerfile/text/exec-form.ts"
import { createLexer } from "../../../images/dockerfile/text/words.ts"

const { words: toWords, expand, expandTexts } = createLexer("\\")
const VARIABLES = {
  x: "one",
  empty: "",
  blanks: "a  b",
  dollar: "$x",
  quote: '"',
  path: "a/b/c.tar.gz",
  first: "a",
  stars: "*b*c",
}

describe("Words", () => {
  test.for<[text: string, words: string[]]>([
    ["a  b\tc", ["a", "b", "c"]],
    ["", []],
    ['"a b" c', ["a b", "c"]],
    ["'a b' c", ["a b", "c"]],
    ['a"b"c', ["abc"]],
    ['""', [""]],
    ["''", [""]],
    ["a\\ b", ["a b"]],
    ["a\\\\b", ["a\\b"]],
    ["a\\", ["a"]],
    ["\\'a", ["'a"]],
    [`"it's"`, ["it's"]],
    [`'say "x"'`, ['say "x"']],
    ['"a\\"b"', ['a"b']],
    ['"a\\nb"', ["a\\nb"]],
    ["'a\\b'", ["a\\b"]],
    ["$x", ["one"]],
    ["${x}", ["one"]],
    ["a$x-b", ["aone-b"]],
    ["a${x}b", ["aoneb"]],
    ["$xy", [""]],
    ["$", ["$"]],
    ["a$ b", ["a$", "b"]],
    ["$%", ["$%"]],
    ["$1a ${1}", ["a", ""]],
    ["a$$b", ["ab"]],
    ["\\$x", ["$x"]],
    ["\\${x}", ["${x}"]],
    ['"$x"', ["one"]],
    ["'$x'", ["$x"]],
    ['"\\$x"', ["$x"]],
    ["$blanks", ["a  b"]],
    ["$dollar", ["$x"]],
    ["$quote", ['"']],
    ["$empty", [""]],
    ["${x:-y}", ["one"]],
    ["${empty:-y}", ["y"]],
    ["${empty-y}", [""]],
    ["${none:-y}", ["y"]],
    ["${none-y}", ["y"]],
    ["${none:-}", [""]],
    ["${x:+y}", ["y"]],
    ["${empty:+y}", [""]],
    ["${empty+y}", ["y"]],
    ["${none:+y}", [""]],
    ["${x:?no}", ["one"]],
    ["${none:-$x}", ["one"]],
    ["${none:-${x}s}", ["ones"]],
    ["${none:-${nor:-deep}}", ["deep"]],
    ["${none:-a b}", ["a b"]],
    ['${none:-"}"}', ["}"]],
    ["${none:-\\}}", ["}"]],
    ["${path#*/}", ["b/c.tar.gz"]],
    ["${path##*/}", ["c.tar.gz"]],
    ["${path%.*}", ["a/b/c.tar"]],
    ["${path%%.*}", ["a/b/c"]],
    ["${path#none}", ["a/b/c.tar.gz"]],
    ["${path#?/}", ["b/c.tar.gz"]],
    ["${path%g?}", ["a/b/c.tar."]],
    ["${path/\\//-}", ["a-b/c.tar.gz"]],
    ["${path//\\//-}", ["a-b-c.tar.gz"]],
    ["${path//./}", ["a/b/ctargz"]],
    ["${path/b*a/X}", ["a/Xr.gz"]],
    ["${path//?/$x}", ["one".repeat(12)]],
    ["${first#**a}", [""]],
    ["${path/${none:-b/c}/X}", ["a/X.tar.gz"]],
    ["${path/$first/x}", ["x/b/c.tar.gz"]],
    ["${path///x}", ["a/b/c.tar.gz"]],
    ["${path//'/'/:}", ["a:b:c.tar.gz"]],
    ["${stars#\\*}", ["b*c"]],
    ["${stars##*\\*}", ["c"]],
    ["${stars//\\*/.}", [".b.c"]],
    ["${path/[b]/x}", ["a/b/c.tar.gz"]],
    ["${none#a}${none/a/b}", [""]],
    ["${path%${none:-.gz}}", ["a/b/c.tar"]],
    ["'${path#*/}'", ["${path#*/}"]],
    ["$constructor ${toString:-y} $__proto__", ["", "y", ""]],
  ])("of %s", ([text, words]) => {
    expect(toWords(text, VARIABLES, 1)).toEqual(words)
  })

  test("with a backtick as the escape keep backslashes", () => {
    expect(createLexer("`").words('c:\\a `$x "a``b`$x\\"', VARIABLES, 1)).toEqual(["c:\\a", "$x", "a`b$x\\"])
  })

  test.for<[text: string, reason: RegExp]>([
    ['"a', /looking for matching "/],
    ["'a", /looking for matching '/],
    ["${x", /missing '}'/],
    ["${x:+${none}", /missing '}'/],
    ["${}", /unsupported modifier in \$\{\}/],
    ["${x^y}", /unsupported modifier in \$\{x\^y\}/],
    ["${x:y}", /unsupported modifier/],
    ["${x/y}", /missing '\/' in \$\{x\/y\}/],
    ["${x y}", /unsupported modifier/],
    ["${none:?give it}", /none: give it/],
    ["${empty:?}", /empty: is not allowed to be unset/],
    ["${a:-".repeat(30) + "}".repeat(30), /nested more than 20 deep/],
    ["${a:-".repeat(200_000), /nested more than 20 deep/],
    ["a".repeat(300_000), /longer than 262144 characters/],
  ])("are refused: %s", ([text, reason]) => {
    expect(() => toWords(text, VARIABLES, 7)).toThrow(reason)
    expect(() => toWords(text, VARIABLES, 7)).toThrow(/^Dockerfile line 7: /)
  })

  test("kept as one have their blanks, and lose their quotes", () => {
    expect(expand("/a  b", VARIABLES, 1)).toBe("/a  b")
    expect(expand('"/a  b"/$x  c', VARIABLES, 1)).toBe("/a  b/one  c")
    expect(expand("", VARIABLES, 1)).toBe("")
  })
})

describe("The exec form", () => {
  test.for<[text: string, argv: string[] | undefined]>([
    ['["a", "b c"]', ["a", "b c"]],
    ["[]", []],
    ['["a\\u0041\\n"]', ["aA\n"]],
    ['["\\ud800"]', ["\uFFFD"]],
    ["['a', 'b']", undefined],
    ['["a",]', undefined],
    ['["a"', undefined],
    ["[ -f x ] && y", undefined],
    ["echo", undefined],
    ["[".repeat(100_000), undefined],
  ])("of %s", ([text, argv]) => {
    expect(toExecForm(text, 1)).toEqual(argv)
  })

  test("takes nothing but strings, without NUL", () => {
    expect(() => toExecForm('["a", 1]', 3)).toThrow(
      "Dockerfile line 3: when using JSON array syntax, arrays must be comprised of strings only",
    )
    expect(() => toExecForm('["a\\u0000"]', 3)).toThrow("NUL")
  })
})

describe("A heredoc", () => {
  const openings = (text: string) => toRawWords(text).flatMap((word) => openingOf(word) ?? [])

  test.for<[text: string, ...names: string[]]>([
    ["<<EOF", "EOF"],
    ["cat <<EOF > x", "EOF"],
    ["cat <<-EOF", "EOF"],
    ["cat <<'EOF'", "EOF"],
    ['cat <<"A B"', "A B"],
    ["cat <<E\\OF", "EOF"],
    ["cat 3<<EOF", "EOF"],
    ["<<A <<B", "A", "B"],
  ])("is opened by %s", ([text, ...names]) => expect(openings(text).map(({ name }) => name)).toEqual(names))

  test.for([
    "echo $((1<<2))",
    "a << 2",
    "cat <<<word",
    "echo '<<EOF'",
    'echo "a <<EOF"',
    "a\\ \\<<EOF",
    "x<<EOF",
    "<<'EOF",
    "<<''",
    "<<",
    "",
  ])("is not opened by %s", (text) => expect(openings(text)).toEqual([]))

  test("has its variables replaced unless its name is quoted, and loses its tabs only with a dash", () => {
    expect(openings(`<<A <<-"B" <<-C\\D`)).toEqual([
      { name: "A", chomps: false, expands: true },
      { name: "B", chomps: true, expands: false },
      { name: "CD", chomps: true, expands: false },
    ])
    const text = { name: "A", expands: true, body: "\t\ta\n \tb\n\n" }
    expect(contentOf({ ...text, chomps: true })).toBe("a\n \tb\n\n")
    expect(contentOf({ ...text, chomps: false })).toBe(text.body)
  })

  test("is a text in which quotes mean nothing and a backslash takes what follows as it is", () => {
    expect(expandTexts([`"$A" '\${A}' \\$A \\\\ \\\n`, ""], { A: "x" }, 1)).toEqual([`"x" 'x' $A \\ \n`, ""])
  })
})
