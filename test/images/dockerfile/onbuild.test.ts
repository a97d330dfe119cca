import { describe, expect, test } from "vitest"
import type { BaseConfig } from "../../../images/dockerfile/base-config.ts"
import type { RunStep } from "../../../images/dockerfile/step.ts"
import { imagesOf, planOf } from "./planning.ts"

const BASE: Partial<BaseConfig> = {
  command: ["base"],
  onBuild: ["ENV A=1", "WORKDIR /app", "COPY . .", "run echo $A"],
}
const world = (onBuild: readonly string[]) => imagesOf({ base: { ...BASE, onBuild } })

describe("ONBUILD", () => {
  test("of a base is executed behind FROM, before anything else, and is no trigger any more", async () => {
    const { stages, settings } = await planOf("# hi\nFROM base\nENV A=2\nRUN x", imagesOf({ base: BASE }))
    expect(stages[0]!.steps).toMatchObject([
      { kind: "directory", line: 2, text: "ONBUILD WORKDIR /app", path: "/app" },
      { kind: "copy", line: 2, text: "ONBUILD COPY . .", sources: ["."], destination: "/app/" },
      { kind: "run", line: 2, text: "ONBUILD RUN echo $A", environment: { A: "1" }, workingDirectory: "/app" },
      { kind: "run", line: 4, text: "RUN x", environment: { A: "2" } },
    ])
    expect(settings).toMatchObject({ argv: ["base"], workingDirectory: "/app", onBuild: [] })
  })

  test("of a stage is kept for those who stand on it, not for itself", async () => {
    const { stages, settings } = await planOf(
      'FROM torpor/debian:13 AS a\nONBUILD RUN a\nONBUILD CMD c\nRUN b\nFROM a AS b\nENTRYPOINT ["e"]\nFROM b',
    )
    expect(stages.map(({ steps }) => steps.map(({ text }) => text))).toEqual([["RUN b"], ["ONBUILD RUN a"], []])
    expect(settings.argv).toEqual(["e", "/bin/sh", "-c", "c"])
  })

  test("is recorded for whoever would build on the image", async () => {
    const { settings, stages } = await planOf(
      "FROM torpor/debian:13\nONBUILD COPY --chown=1 \\\n  . /app\nONBUILD RUN <<EOF\none\ntwo\nEOF\nCMD x",
    )
    expect(settings.onBuild).toEqual(["COPY --chown=1   . /app", "RUN <<EOF\none\ntwo\nEOF"])
    expect(stages[0]!.steps).toEqual([])
  })

  test("may hold a heredoc, and flags", async () => {
    const { stages } = await planOf(
      "FROM torpor/debian:13 AS a\nONBUILD RUN --network=none <<EOF\none\nEOF\nFROM a\nCMD x",
    )
    expect(stages[1]!.steps).toMatchObject([{ argv: ["/bin/sh", "-c", "one\n"], network: "none" }])
  })

  test("copies from stages and images as the stage that it is executed in", async () => {
    const { stages } = await planOf(
      "FROM torpor/debian:13 AS tools\nFROM base\nCMD x",
      world(["COPY --from=tools a b"]),
    )
    expect(stages.map(({ name }) => name)).toEqual(["tools", null])
    expect(stages[1]!.steps).toMatchObject([{ from: { kind: "stage", stage: 0 } }])
  })

  test("of an image is read with its own escape character, whatever the Dockerfile's is", async () => {
    const { stages } = await planOf("# escape=`\nFROM base\nCMD x", world(["RUN a \\\n b"]))
    expect((stages[0]!.steps[0] as RunStep).argv).toEqual(["/bin/sh", "-c", "a  b"])
    const own = await planOf("# escape=`\nFROM torpor/debian:13 AS a\nONBUILD RUN a\\\nFROM a\nCMD x")
    expect((own.stages[1]!.steps[0] as RunStep).argv).toEqual(["/bin/sh", "-c", "a\\"])
  })

  test.for<[trigger: string, reason: string]>([
    ["RUN", "RUN requires a command"],
    ["COPY --from=none a b", "there is no image none"],
    ["FORM x", "unknown instruction: FORM"],
    ["ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"],
    ["onbuild onbuild run x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"],
    ["FROM base", "FROM isn't allowed as an ONBUILD trigger"],
    ["MAINTAINER x", "MAINTAINER isn't allowed as an ONBUILD trigger"],
    ["RUN x\nRUN y", "onbuild trigger should be a single expression"],
    ["", "onbuild trigger should be a single expression"],
  ])("of a base is refused with the FROM's line: %j", async ([trigger, reason]) => {
    await expect(planOf("\n\nFROM base\nCMD x", world(["ENV A=1", trigger]))).rejects.toThrow(
      `Dockerfile line 3: its ONBUILD trigger '${trigger}': ${reason}`,
    )
  })

  test("tells what is wrong with another stage as that stage's own", async () => {
    await expect(
      planOf("FROM scratch AS tools\nRUN\nFROM base\nCMD x", world(["COPY --from=tools a b"])),
    ).rejects.toThrow("Dockerfile line 2: RUN requires a command")
  })

  test("is there a hundred times at most, and not too long", async () => {
    const own = (count: number) => planOf(`FROM torpor/debian:13\n${"ONBUILD RUN x\n".repeat(count)}CMD x`)
    expect((await own(100)).settings.onBuild).toHaveLength(100)
    await expect(own(101)).rejects.toThrow("Dockerfile line 102: more than 100 ONBUILD triggers")
    await expect(planOf("FROM base\nCMD x", world(Array.from({ length: 101 }, () => "RUN x")))).rejects.toThrow(
      "Dockerfile line 1: more than 100 ONBUILD triggers",
    )
    const long = Array.from({ length: 50 }, () => `RUN ${"x".repeat(3000)}`)
    await expect(planOf("FROM base\nCMD x", world(long))).rejects.toThrow(
      "ONBUILD triggers of more than 131072 characters",
    )
  })

  test("cannot make a build of a few lines one without end", async () => {
    const base = `FROM torpor/debian:13 AS a\n${"ONBUILD RUN x\n".repeat(100)}`
    const stages = Array.from({ length: 30 }, (_, index) => `FROM a AS s${index}\n`).join("")
    const copies = Array.from({ length: 30 }, (_, index) => `COPY --from=s${index} a b\n`).join("")
    await expect(planOf(`${base}${stages}FROM scratch\n${copies}CMD x`)).rejects.toThrow("more than 2000 steps")
  })
})
