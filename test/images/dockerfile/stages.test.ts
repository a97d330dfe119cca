import fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { CopyStep } from "../../../images/dockerfile/step.ts"
import { imagesOf, planOf, targetOf } from "./planning.ts"

const shape = async (text: string, target?: string) =>
  (
    await planOf(`${text}\nCMD x`, {
      ...imagesOf({ node: {}, alpine: {} }),
      ...(target === undefined ? {} : { target }),
    })
  ).stages.map(
    ({ name, ground }) =>
      `${name ?? "-"} on ${"stage" in ground ? ground.stage : "digest" in ground ? ground.digest : ground.kind}`,
  )

describe("FROM", () => {
  test.for([
    "FROM torpor/debian:13",
    "from torpor/debian:13 as app",
    "FROM public.ecr.aws/lambda/microvms:al2023-minimal",
    "ARG B=torpor/debian\nFROM ${B}:13",
    "ARG A=13\nARG B=torpor/debian:$A\nFROM $B",
    "ARG B\nFROM ${B:-torpor/debian:13}",
    "# syntax=docker/dockerfile:1\nFROM torpor/debian:13",
  ])("takes the managed image: %s", async (from) => {
    expect(await targetOf(`${from}\nCMD x`)).toMatchObject({ ground: { kind: "managed" }, steps: [] })
  })

  test("takes the build's arguments", async () => {
    const found = await targetOf("ARG B=other\nFROM $B\nCMD x", { arguments: { B: "torpor/debian:13" } })
    expect(found.ground).toEqual({ kind: "managed" })
  })
})

describe("Stages", () => {
  test.for<[name: string, text: string, stages: string[]]>([
    ["stand on each other", "FROM node AS a\nFROM a AS b\nFROM b", ["a on sha256:node", "b on 0", "- on 1"]],
    ["have names in any case", "FROM node AS Build\nFROM bUILD", ["build on sha256:node", "- on 0"]],
    ["may have an image's name", "FROM node AS node\nFROM node", ["node on sha256:node", "- on 0"]],
    [
      "give the nearest above their files",
      "FROM node AS a\nFROM alpine AS a\nFROM scratch\nCOPY --from=a x y",
      ["a on sha256:alpine", "- on scratch"],
    ],
    ["give the nearest above their name", "FROM node AS a\nFROM alpine AS a\nFROM a", ["a on sha256:alpine", "- on 0"]],
    [
      "are planned once",
      "FROM node AS a\nFROM a AS b\nFROM a\nCOPY --from=b x y",
      ["a on sha256:node", "b on 0", "- on 0"],
    ],
    ["may stand on nothing", "FROM scratch\nCOPY a b", ["- on scratch"]],
    ["may stand on the managed image", "FROM torpor/debian:13", ["- on managed"]],
    [
      "are left out when nobody needs them",
      "FROM node AS a\nRUN x\nFROM alpine AS b\nFROM torpor/debian:13",
      ["- on managed"],
    ],
    [
      "are needed by COPY",
      "FROM node AS a\nFROM alpine\nCOPY --from=a x y",
      ["a on sha256:node", "- on sha256:alpine"],
    ],
    [
      "are needed by their number",
      "FROM node\nFROM alpine\nCOPY --from=0 x y",
      ["- on sha256:node", "- on sha256:alpine"],
    ],
    [
      "are needed by a mount",
      "FROM node AS a\nFROM alpine\nRUN --mount=from=a,target=/x y",
      ["a on sha256:node", "- on sha256:alpine"],
    ],
    [
      "are needed by what is needed",
      "FROM node AS a\nFROM alpine AS b\nCOPY --from=a x y\nFROM scratch\nCOPY --from=b x y",
      ["a on sha256:node", "b on sha256:alpine", "- on scratch"],
    ],
    ["begin with variables", "ARG V=node\nFROM $V AS a\nARG V=alpine\nFROM ${V}", ["- on sha256:node"]],
    [
      "are for this platform",
      "FROM --platform=$BUILDPLATFORM node AS a\nFROM --platform=linux/amd64 a\n",
      ["a on sha256:node", "- on 0"],
    ],
    [
      "copy from the managed image",
      "FROM node\nCOPY --from=torpor/debian:13 a b\nCOPY --from=torpor/debian:13 c d",
      ["- on managed", "- on sha256:node"],
    ],
  ])("%s", async ([, text, stages]) => expect(await shape(text)).toEqual(stages))

  test.for<[target: string, stages: string[]]>([
    ["a", ["a on sha256:node"]],
    ["B", ["a on sha256:node", "b on 0"]],
    ["0", ["a on sha256:node"]],
    ["2", ["- on scratch"]],
    ["", ["- on scratch"]],
  ])("are built up to a target: %s", async ([target, stages]) => {
    expect(await shape("FROM node AS a\nCMD x\nFROM a AS b\nFROM scratch", target)).toEqual(stages)
  })

  test("are built up to the last of a target's name", async () => {
    expect(await shape("FROM node AS a\nCMD y\nFROM alpine AS a\nCMD y\nFROM scratch", "a")).toEqual([
      "a on sha256:alpine",
    ])
  })

  test.for(["c", "3", "-1", "01"])("are refused without the target %s", async (target) => {
    await expect(shape("FROM node AS a\nFROM a AS b\nFROM scratch", target)).rejects.toThrow(
      `Dockerfile line 1: target stage "${target}" could not be found`,
    )
  })

  test("say where they stand in the Dockerfile, and what of them is copied", async () => {
    const { stages } = await planOf(
      "# first\nFROM --platform=linux/amd64 node AS a\nRUN x\n\nFROM alpine\nCOPY --from=a x y\nCOPY --from=node x y\nCOPY x y\nCMD x",
      imagesOf({ node: {}, alpine: {} }),
    )
    expect(stages.map(({ line, text }) => [line, text])).toEqual([
      [2, "FROM --platform=linux/amd64 node AS a"],
      [5, "FROM alpine"],
    ])
    expect(stages[1]!.steps.map((step) => (step as CopyStep).from)).toEqual([
      { kind: "stage", stage: 0 },
      { kind: "image", digest: "sha256:node" },
      { kind: "context" },
    ])
  })

  test("ask for each image once, and for none that nobody needs", async () => {
    const asked: string[] = []
    const { resolveImage } = imagesOf({ node: {}, alpine: {} })
    await planOf(
      "FROM node AS a\nFROM --platform=$TARGETOS/$TARGETARCH alpine AS b\nCOPY --from=node a b\nFROM none AS c\nFROM node AS d\nCOPY --from=b a b\nCOPY --from=a a b\nCMD x",
      {
        async resolveImage(reference, line, platform) {
          asked.push(`${line} ${reference} ${platform}`)
          return resolveImage(reference, line, platform)
        },
      },
    )
    expect(asked).toEqual(["5 node null", "2 alpine linux/amd64"])
  })

  const drawn = fc.array(fc.record({ ground: fc.nat(9), copies: fc.array(fc.nat(9), { maxLength: 3 }) }), {
    minLength: 1,
    maxLength: 10,
  })
  test("are all that the target needs and no more, each behind its own, whatever they need of each other", async () => {
    await fc.assert(
      fc.asyncProperty(drawn, async (written) => {
        const needs = written.map(({ ground, copies }, index) => [ground, ...copies].filter((other) => other < index))
        const text = written.map(({ ground, copies }, index) =>
          [
            `FROM ${ground < index ? `s${ground}` : "node"} AS s${index}`,
            ...copies.map((other) => `COPY --from=${other < index ? other : "alpine"} a b`),
          ].join("\n"),
        )
        const needed = new Set([written.length - 1])
        for (const index of needed) needs[index]?.forEach((other) => needed.add(other))
        const { stages } = await planOf(`${text.join("\n")}\nCMD x`, imagesOf({ node: {}, alpine: {} }))
        expect(stages.at(-1)?.name).toBe(`s${written.length - 1}`)
        expect(new Set(stages.map(({ name }) => name))).toEqual(new Set([...needed].map((index) => `s${index}`)))
        expect(stages).toHaveLength(needed.size)
        const nameOf = (source: { stage: number }) => stages[source.stage]?.name
        stages.forEach(({ name, ground, steps }, place) => {
          const sources = [ground, ...(steps as CopyStep[]).map(({ from }) => from)].filter(
            (one) => one.kind === "stage",
          )
          expect(sources.every(({ stage }) => stage < place)).toBe(true)
          expect(sources.map(nameOf)).toEqual(needs[Number(name?.slice(1))]?.map((other) => `s${other}`))
        })
      }),
    )
  })
})
