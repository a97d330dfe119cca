import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { DockerfileError } from "../../images/dockerfile/error.ts"
import { planOf, refusal, targetOf } from "./planning.ts"

const FROM = "FROM torpor/debian:13"

describe("A Dockerfile is refused with its line", () => {
  test.for<[reason: string, line: number, text: string]>([
    ["there is no FROM", 1, ""],
    ["there is no FROM", 1, "# nothing\nARG X=1"],
    ["FROM must come first", 2, "\nRUN x"],
    ["FROM requires an image", 1, "FROM"],
    ["FROM requires an image", 1, "FROM $NONE"],
    ["FROM requires either one or three arguments", 1, `${FROM} AS`],
    ["FROM requires either one or three arguments", 1, `${FROM} app`],
    ["the base image 'node:22' is not supported yet: use torpor/debian:13", 1, "FROM node:22\nCMD x"],
    ["the base image 'scratch' is not supported yet", 1, "FROM scratch"],
    ["FROM --platform is not supported yet", 1, "FROM --platform=linux/arm64 torpor/debian:13"],
    ["several stages are not supported yet", 3, `${FROM}\nRUN x\nFROM torpor/debian:13`],
    ["nothing says what to run: CMD or ENTRYPOINT is missing", 2, `${FROM}\nRUN x`],
    ["nothing says what to run", 2, `${FROM}\nCMD []`],
    ["ONBUILD is not supported yet", 2, `${FROM}\nONBUILD RUN x`],
    ["ADD is not supported yet", 2, `${FROM}\nADD a b`],
    ["HEALTHCHECK requires at least one argument", 2, `${FROM}\nHEALTHCHECK`],
    ["HEALTHCHECK NONE takes no arguments", 2, `${FROM}\nHEALTHCHECK NONE now`],
    ["HEALTHCHECK NONE takes no arguments", 2, `${FROM}\nHEALTHCHECK --retries=1 NONE`],
    ["Unknown type 'curl' in HEALTHCHECK (try CMD)", 2, `${FROM}\nHEALTHCHECK curl x`],
    ["Missing command after HEALTHCHECK CMD", 2, `${FROM}\nHEALTHCHECK CMD`],
    ["Missing command after HEALTHCHECK CMD", 2, `${FROM}\nHEALTHCHECK CMD []`],
    ["HEALTHCHECK --every is not supported yet", 2, `${FROM}\nHEALTHCHECK --every=1s CMD x`],
    ["invalid duration '5' of --interval", 2, `${FROM}\nHEALTHCHECK --interval=5 CMD x`],
    ["invalid duration '1s2' of --timeout", 2, `${FROM}\nHEALTHCHECK --timeout=1s2 CMD x`],
    ["--timeout is less than 1ms", 2, `${FROM}\nHEALTHCHECK --timeout=10us CMD x`],
    ["--retries must be a whole number from 1", 2, `${FROM}\nHEALTHCHECK --retries=0 CMD x`],
    ["VOLUME requires at least one argument", 2, `${FROM}\nVOLUME`],
    ["VOLUME specified can not be an empty string", 2, `${FROM}\nVOLUME /x $NONE`],
    ["STOPSIGNAL requires an argument", 2, `${FROM}\nSTOPSIGNAL`],
    ["invalid signal: SIGNOT", 2, `${FROM}\nSTOPSIGNAL SIGNOT`],
    ["invalid signal: 65", 2, `${FROM}\nSTOPSIGNAL 65`],
    ["SHELL requires the arguments to be in JSON form", 2, `${FROM}\nSHELL bash -c`],
    ["SHELL requires the arguments to be in JSON form", 2, `${FROM}\nSHELL []`],
    ["MAINTAINER requires an argument", 2, `${FROM}\nMAINTAINER`],
    ["unknown instruction: FORM", 1, "FORM x"],
    ["unknown instruction: CONSTRUCTOR", 2, `${FROM}\nconstructor x`],
    ["RUN --mount is not supported yet", 3, `${FROM}\n\nRUN --mount=type=cache,target=/x y`],
    ["RUN requires a command", 2, `${FROM}\nRUN`],
    ["RUN requires a command", 2, `${FROM}\nRUN []`],
    ["unterminated heredoc: no line says EOF", 2, `${FROM}\nRUN <<EOF\necho\n EOF`],
    ["unterminated heredoc: no line says B", 2, `${FROM}\nRUN <<A <<B\nA\necho`],
    ["unterminated heredoc: no line says EOF", 4, `${FROM}\nRUN <<EOF\nEOF\nCOPY <<EOF /x`],
    ["a heredoc's name becomes a file's: '../x' cannot be one", 2, `${FROM}\nCOPY <<../x /x\n../x`],
    ["a heredoc's name becomes a file's: '..' cannot be one", 2, `${FROM}\nRUN <<..\n#!/bin/sh\n..`],
    ["COPY requires at least one source and a destination", 2, `${FROM}\nCOPY <<EOF\nEOF`],
    ["the destination must be a directory and end with a /", 2, `${FROM}\nCOPY <<EOF a b\nEOF`],
    [
      "longer than 262144 characters with its variables replaced",
      3,
      `${FROM}\nENV A=${"x".repeat(100_000)}\nCOPY ${"<<E ".repeat(3)}x/\n${"$A\nE\n".repeat(3)}`,
    ],
    ["SHELL says more than 4096 characters", 2, `${FROM}\nSHELL ["${"x".repeat(4097)}"]`],
    ["a path of more than 4096 characters", 2, `${FROM}\nVOLUME ${"x".repeat(4097)}`],
    ["B: not today", 2, `${FROM}\nCOPY <<EOF b\n\${B:?not today}\nEOF`],
    ["arrays must be comprised of strings only", 2, `${FROM}\nCMD ["a", 1]`],
    ["COPY --from is not supported yet", 2, `${FROM}\nCOPY --from=0 a b`],
    ["COPY --link is not supported yet", 2, `${FROM}\nCOPY --link a b`],
    ["COPY --Chown is not supported yet", 2, `${FROM}\nCOPY --Chown=a a b`],
    ["COPY requires at least one source and a destination", 2, `${FROM}\nCOPY a`],
    ["COPY requires at least one source", 2, `${FROM}\nCOPY ["a"]`],
    ["the destination must be a directory and end with a /", 2, `${FROM}\nCOPY a b c`],
    ["invalid chmod parameter: 'u+x'", 2, `${FROM}\nCOPY --chmod=u+x a b`],
    ["invalid chmod parameter: '10000'", 2, `${FROM}\nCOPY --chmod=10000 a b`],
    ["invalid chmod parameter: '888'", 2, `${FROM}\nCOPY --chmod=888 a b`],
    ["ENV must have two arguments", 2, `${FROM}\nENV A`],
    ['can\'t find = in "B"', 2, `${FROM}\nENV A=1 B`],
    ["ENV names can not be blank", 2, `${FROM}\nENV =1`],
    ["LABEL must have two arguments", 2, `${FROM}\nLABEL`],
    ["ARG requires at least one argument", 2, `${FROM}\nARG`],
    ["'a-b' is not a valid name", 2, `${FROM}\nARG a-b=1`],
    ["WORKDIR requires an argument", 2, `${FROM}\nWORKDIR $NONE`],
    ["USER requires an argument", 2, `${FROM}\nUSER`],
    ["EXPOSE requires at least one argument", 2, `${FROM}\nEXPOSE`],
    ["invalid containerPort: 0", 2, `${FROM}\nEXPOSE 0`],
    ["invalid containerPort: 65536", 2, `${FROM}\nEXPOSE 65536`],
    ["invalid containerPort: 90-80", 2, `${FROM}\nEXPOSE 90-80`],
    ["invalid containerPort: 80/icmp", 2, `${FROM}\nEXPOSE 80/icmp`],
    ["invalid containerPort: http", 2, `${FROM}\nEXPOSE http`],
    ["CMD --x is not supported yet", 2, `${FROM}\nCMD --x`],
    ['looking for matching "', 4, `${FROM}\nRUN a \\\n b\nENV A="x`],
  ])("%s (%i)", async ([reason, line, text]) => {
    const failure = await refusal(text)
    expect(failure.message).toContain(reason)
    expect(failure.message).toContain(`Dockerfile line ${line}: `)
    expect(failure.line).toBe(line)
  })
})

describe("A hostile Dockerfile costs little", () => {
  const doubling = Array.from({ length: 60 }, (_, index) => `ENV A${index + 1}=$A${index}$A${index}`).join("\n")
  test.for<[name: string, text: string, reason: RegExp]>([
    ["a line of 1 MB", `${FROM}\nENV A=${"a".repeat(1024 * 1024)}`, /longer than/],
    ["a word of 1 MB as a label", `${FROM}\nLABEL ${"a".repeat(200_000)}=b`, /LABEL says more than/],
    ["100,000 lines", `${FROM}\n${"RUN x\n".repeat(100_000)}`, /more than 1000 instructions/],
    [
      "100,000 continued lines that end in nothing",
      `${FROM}\nFOO \\\n${"# x\n".repeat(100_000)}`,
      /unknown instruction/,
    ],
    ["variables that double", `${FROM}\nENV A0=aaaaaaaa\n${doubling}`, /ENV says more than|longer than/],
    [
      "variables many times in one line",
      `${FROM}\nENV A=${"a".repeat(1000)}\nENV B=${"$A".repeat(10_000)}`,
      /longer than/,
    ],
    [
      "20,000 variables",
      `${FROM}\nENV ${Array.from({ length: 20_000 }, (_, i) => `a${i}=1`).join(" ")}`,
      /ENV says more/,
    ],
    ["every port, again and again", `${FROM}\nEXPOSE ${"1-65535 ".repeat(10_000)}`, /more than 1000 exposed ports/],
    ["sources without end", `${FROM}\nCOPY ${"a ".repeat(100_000)} /b/`, /more than 1000 sources/],
    ["flags without end", `${FROM}\nCOPY ${"--a ".repeat(100_000)}`, /more than 100 flags/],
    ["quotes without end", `${FROM}\nENV A=${'"'.repeat(200_001)}`, /matching/],
    ["dollars without end", `${FROM}\nENV A=${"${".repeat(100_000)}`, /nested|missing/],
  ])("with %s", async ([, text, reason]) => {
    expect((await refusal(text)).message).toMatch(reason)
  })

  test("of 998 steps shares one environment among them", async () => {
    const { steps } = await targetOf(`${FROM}\nENV A=1\n${"RUN x\n".repeat(997)}CMD y`)
    expect(new Set(steps.map((step) => step.kind === "run" && step.environment)).size).toBe(1)
  })

  const word = fc.constantFrom(
    ..."FROM ARG ENV RUN COPY CMD ENTRYPOINT WORKDIR USER EXPOSE LABEL ADD torpor/debian:13 # \\ ` \" ' $ ${ } ${a:- :+ = [ ] , -- --chown= << EOF \n \r\n \t".split(
      /(?<=\S) (?=\S)/,
    ),
    "\n",
    " ",
    "\uFEFF",
    "\0",
    "$a",
    "a",
    '["a"]',
  )
  test("throws nothing but its own error, whatever it says", async () => {
    const texts = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.array(word, { maxLength: 60 }).map((words) => words.join("")),
    )
    await fc.assert(
      fc.asyncProperty(texts, fc.boolean(), async (text, begun) => {
        try {
          const { settings } = await planOf(begun ? `${FROM}\n${text}` : text)
          expect(JSON.stringify(settings)).not.toContain("\\u0000")
        } catch (error) {
          expect(error).toBeInstanceOf(DockerfileError)
        }
      }),
      { numRuns: 1000 },
    )
  })
})
