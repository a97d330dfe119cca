import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { DockerfileError } from "../../../images/dockerfile/error.ts"
import { planOf, refusal, targetOf } from "./planning.ts"

const FROM = "FROM torpor/debian:13"

describe("A hostile Dockerfile costs little", () => {
  const doubling = Array.from({ length: 60 }, (_, index) => `ENV A${index + 1}=$A${index}$A${index}`).join("\n")
  test.for<[name: string, text: string, reason: RegExp]>([
    ["10 MB", `${FROM}\n${"RUN x\n".repeat(1_700_000)}`, /the Dockerfile is longer than 1048576 characters/],
    ["a line of 1 MB", `${FROM}\nENV A=${"a".repeat(1_000_000)}`, /line greater than maximum allowed size of 65535/],
    ["1 MB of continued lines", `${FROM}\nENV A=${"a\\\n".repeat(300_000)}`, /longer than 262144 characters/],
    ["a word of 1 MB as a label", `${FROM}\nLABEL a=${"a\\\n".repeat(200_000)}`, /LABEL says more than/],
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
      `${FROM}\nENV ${Array.from({ length: 20_000 }, (_, i) => `a${i}=1`).join(" \\\n")}`,
      /ENV says more/,
    ],
    ["every port, again and again", `${FROM}\nEXPOSE ${"1-65535 \\\n".repeat(10_000)}`, /more than 1000 exposed ports/],
    ["sources without end", `${FROM}\nCOPY ${"a \\\n".repeat(100_000)} /b/`, /more than 1000 sources/],
    ["flags without end", `${FROM}\nCOPY ${"--a \\\n".repeat(100_000)}`, /more than 100 flags/],
    ["quotes without end", `${FROM}\nENV A=${'"\\\n'.repeat(100_001)}`, /matching/],
    ["dollars without end", `${FROM}\nENV A=${"${\\\n".repeat(100_000)}`, /nested|missing/],
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
