import { describe, expect, test } from "vitest"
import { DockerfileError } from "../../../images/dockerfile/error.ts"
import { splitInstructions } from "../../../images/dockerfile/text/instructions.ts"

/** Instructions as `line KEYWORD rest`. */
const split = (text: string) =>
  splitInstructions(text).instructions.map(({ line, keyword, rest }) => `${line} ${keyword} ${rest}`)

describe("A Dockerfile's text", () => {
  test.for<[name: string, text: string, instructions: string[]]>([
    ["has its keywords in any case", "from x\nRun y\nCMD z", ["1 FROM x", "2 RUN y", "3 CMD z"]],
    ["has comments and empty lines between", "# a\n\nFROM x\n  # b\n\t\nRUN y", ["3 FROM x", "6 RUN y"]],
    ["has no comments behind an instruction", "RUN echo a # b", ["1 RUN echo a # b"]],
    ["may be indented", "  FROM x\n\tRUN y", ["1 FROM x", "2 RUN y"]],
    ["has continued lines", "RUN a \\\n  b \\\n  c\nCMD d", ["1 RUN a   b   c", "4 CMD d"]],
    ["has continued lines with blanks behind the mark", "RUN a \\ \t\n b", ["1 RUN a  b"]],
    ["has words that go on in the next line", "RUN ec\\\nho hi", ["1 RUN echo hi"]],
    ["has comments inside continued lines", "RUN a \\\n# one\n  # two\n && b\nCMD c", ["1 RUN a  && b", "5 CMD c"]],
    ["has empty lines inside continued lines", "RUN a \\\n\n\n b", ["1 RUN a  b"]],
    ["ends in the middle of a continued line", "RUN a \\", ["1 RUN a"]],
    ["ends with comments after a continuation mark", "RUN a \\\n# b\n", ["1 RUN a"]],
    ["is not continued behind a doubled mark", "RUN echo a\\\\\nCMD b", ["1 RUN echo a\\\\", "2 CMD b"]],
    ["has CRLF line ends", "FROM x\r\nRUN a \\\r\n b\r\n", ["1 FROM x", "2 RUN a  b"]],
    ["has a byte order mark", "\uFEFFFROM x", ["1 FROM x"]],
    ["has another escape mark", "# escape=`\nRUN a `\n b\\\nCMD c", ["2 RUN a  b\\", "4 CMD c"]],
    [
      "has Docker's syntax from anywhere",
      "# syntax = mirror.example.org/docker/dockerfile-upstream:1.9\nRUN a",
      ["2 RUN a"],
    ],
    ["has its directives in any case", "#Escape = ` \nRUN a `\n b", ["2 RUN a  b"]],
    ["has a syntax directive before the escape", "# syntax=docker/dockerfile:1\n# escape=`\nRUN a `\nb", ["3 RUN a b"]],
    ["has no directive behind a comment", "# hello\n# escape=`\nRUN a `\nCMD b", ["3 RUN a `", "4 CMD b"]],
    ["has no directive behind an unknown one", "# colour=red\n# escape=`\nRUN a `\nCMD b", ["3 RUN a `", "4 CMD b"]],
    ["has no directive behind an empty line", "\n# escape=`\nRUN a `\nCMD b", ["3 RUN a `", "4 CMD b"]],
    [
      "has no directive behind an instruction",
      "FROM x\n# escape=`\nRUN a `\nCMD b",
      ["1 FROM x", "3 RUN a `", "4 CMD b"],
    ],
  ])("%s", ([, text, instructions]) => {
    expect(split(text)).toEqual(instructions)
  })

  test("has flags before its arguments, up to two dashes alone", () => {
    const { instructions } = splitInstructions("COPY --chown=a:b  --chmod=1 -- --link c\nRUN x --flag=y")
    expect(instructions.map(({ flags, rest }) => ({ flags, rest }))).toEqual([
      {
        flags: [
          { name: "chown", value: "a:b" },
          { name: "chmod", value: "1" },
        ],
        rest: "--link c",
      },
      { flags: [], rest: "x --flag=y" },
    ])
  })

  test("has flags with quotes and escapes, which hold blanks together", () => {
    const [copy] = splitInstructions(`COPY --a="b c"d --'e'=\\ f\\"g --h 'i'`).instructions
    expect(copy).toMatchObject({
      flags: [
        { name: "a", value: "b cd" },
        { name: "e", value: ' f"g' },
        { name: "h", value: null },
      ],
      rest: "'i'",
    })
  })

  test.for<[name: string, text: string, line: number, reason: RegExp]>([
    ["an escape mark that is none", "# escape=x\nFROM y", 1, /invalid escape character 'x'/],
    ["a directive twice", "# escape=`\n# escape=`\nFROM y", 2, /only one escape parser directive/],
    [
      "a syntax that isn't Docker's",
      "# escape=`\n# syntax=mine/frontend:1\nFROM y",
      2,
      /the syntax 'mine\/frontend:1' is not supported/,
    ],
    ["a NUL", "FROM x\nRUN a\0b", 2, /NUL/],
    ["a line that is no instruction", "FROM x\n\n&& y", 3, /cannot be read as an instruction: && y/],
    ["an instruction too many", "RUN x\n".repeat(1001), 1001, /more than 1000 instructions/],
    ["a flag too many", `COPY ${"--a=b ".repeat(101)} x y`, 1, /more than 100 flags/],
  ])("is refused with the line of %s", ([, text, line, reason]) => {
    const failure = failureOf(() => splitInstructions(text))
    expect(failure.message).toMatch(reason)
    expect(failure.line).toBe(line)
  })
})

const failureOf = (work: () => unknown): DockerfileError => {
  try {
    work()
  } catch (error) {
    if (error instanceof DockerfileError) return error
    throw error
  }
  throw new Error("It was accepted")
}
