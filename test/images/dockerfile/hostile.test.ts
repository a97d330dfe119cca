import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { DockerfileError } from "../../../images/dockerfile/error.ts"
import { imagesOf, planOf, refusal, targetOf } from "./planning.ts"

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
    [
      "a pattern that is tried everywhere",
      `${FROM}\nENV A=${"a".repeat(60_000)}\nENV B=\${A//*a*a*a*b/}`,
      /patterns in its variables take too long/,
    ],
    [
      "patterns without end",
      `${FROM}\nENV A=${"a".repeat(60_000)}\nLABEL ${"a=${A##*} \\\n".repeat(80_000)}`,
      /take too long/,
    ],
    ["a pattern of stars", `${FROM}\nENV A=${"a".repeat(5000)}\nENV B=\${A//${"*?".repeat(5000)}b/}`, /take too long/],
    ["replacements that grow", `${FROM}\nENV A=${"a".repeat(60_000)}\nENV B=\${A//a/$A}`, /longer than 262144/],
    [
      "large labels, again and again",
      `${FROM}\nENV A=${"a".repeat(60_000)}\n${"LABEL a=$A$A\n".repeat(900)}`,
      /the Dockerfile is longer than 33554432 characters/,
    ],
    ["101 stages", `${FROM}\n`.repeat(101), /^Dockerfile line 101: more than 100 stages/],
    ["a stage's name without end", `${FROM} AS ${"a".repeat(129)}`, /invalid name for build stage: "a{60}"/],
    ["triggers without end", `${FROM}\n${"ONBUILD RUN x\n".repeat(900)}`, /more than 100 ONBUILD triggers/],
    ["URLs without end", `${FROM}\nADD ${"http://a \\\n".repeat(1001)} /b/`, /more than 1000 sources/],
    ["a URL without end", `${FROM}\nADD http://${"a".repeat(5000)} /b`, /a URL of more than 4096 characters/],
    ["patterns to leave out without end", `${FROM}\nCOPY ${"--exclude=a \\\n".repeat(101)} a b`, /more than 100 flags/],
    [
      "a pattern to leave out without end",
      `${FROM}\nCOPY --exclude=${"a".repeat(5000)} a b`,
      /--exclude takes a pattern of 1 to 4096/,
    ],
    ["a name of a file without end", `${FROM}\nADD http://a/${"a".repeat(256)} /b`, /ends in no name of a file/],
    ["a mount of many fields", `${FROM}\nRUN --mount=${"a,".repeat(30_000)} x`, /invalid field 'a'/],
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

  test("asks for fifty images at most", async () => {
    const asked: string[] = []
    const { resolveImage } = imagesOf(Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`i${index}`, {}])))
    const copies = Array.from({ length: 60 }, (_, index) => `COPY --from=i${index} a b\n`).join("")
    const failure = await refusal(`${FROM}\n${copies}CMD x`, {
      async resolveImage(reference, line, platform) {
        asked.push(reference)
        return resolveImage(reference, line, platform)
      },
    })
    expect(failure.message).toBe("Dockerfile line 52: more than 50 images")
    expect(asked).toHaveLength(50)
  })

  const word = fc.constantFrom(
    ..."FROM ARG ENV RUN COPY CMD ENTRYPOINT WORKDIR USER EXPOSE LABEL ADD ONBUILD SHELL HEALTHCHECK AS a b --from=a --from=0 --mount=from=a,target=/x --mount=type=cache,target=/c torpor/debian:13 scratch # \\ ` \" ' $ ${ } ${a:- ${a# ${a%% ${a// / :+ = [ ] , -- --chown= << EOF \n \r\n \t".split(
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
