import { describe, expect, test } from "vitest"
import type { RunStep } from "../../../images/dockerfile/step.ts"
import { imagesOf, plan, planOf, runs, targetOf } from "./planning.ts"

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
/** What a RUN behind these lines has in its environment, but PATH. */
const environment = async (...lines: string[]) => {
  const { PATH: _, ...rest } = (await runs(...lines, "RUN x")).at(-1)!.environment
  return rest
}

describe("ARG and ENV", () => {
  test("say what a RUN finds in its environment", async () => {
    expect((await runs("RUN x"))[0]?.environment).toEqual({ PATH })
    expect(await environment("ARG A=1 B", "ENV C=2")).toEqual({ A: "1", C: "2" })
  })

  test("ARG before FROM is known behind it only where it is named again", async () => {
    const text = (behind: string) => `ARG A=1\nFROM torpor/debian:13\n${behind}\nRUN x\nCMD y`
    const found = async (behind: string) => ((await targetOf(text(behind))).steps[0] as RunStep).environment["A"]
    expect([await found("ENV B=$A"), await found("ARG A"), await found("ARG A=2")]).toEqual([undefined, "1", "2"])
  })

  test("ARG is known from its own line on, and is no part of the running image", async () => {
    const { settings, stages } = await plan("RUN a", "ARG A=1", "RUN b")
    expect((stages[0]!.steps as RunStep[]).map(({ environment: known }) => known["A"])).toEqual([undefined, "1"])
    expect(settings.environment).toEqual({ PATH })
  })

  test("ENV wins over ARG, whichever comes first", async () => {
    expect(await environment("ARG A=arg", "ENV A=env")).toEqual({ A: "env" })
    expect(await environment("ENV A=env", "ARG A=arg")).toEqual({ A: "env" })
    expect(await environment("ARG A=arg", "ENV A=${A:-none}")).toEqual({ A: "arg" })
  })

  test.for<[line: string, found: Record<string, string>]>([
    ["ENV A=1 B=two", { A: "1", B: "two" }],
    ["ENV A=\"a b\" B=a\\ b C='a b'", { A: "a b", B: "a b", C: "a b" }],
    ["ENV A a  b  c", { A: "a  b  c" }],
    ["ENV A B=c", { A: "B=c" }],
    ['ENV A "quoted"', { A: "quoted" }],
    ["ENV A=", { A: "" }],
    ["ENV A=b=c", { A: "b=c" }],
    ["ENV A=1 \\\n  B=2 \\\n# three\n  C=3", { A: "1", B: "2", C: "3" }],
    ["ENV A=1\nENV A=2 B=$A", { A: "2", B: "1" }],
    ["ENV constructor=x __proto__=y", JSON.parse('{"constructor":"x","__proto__":"y"}') as Record<string, string>],
  ])("%s", async ([line, found]) => {
    expect(Object.entries(await environment(line))).toEqual(Object.entries(found))
  })

  test("PATH can be added to", async () => {
    expect((await plan("ENV PATH=/opt:$PATH")).settings.environment).toEqual({ PATH: `/opt:${PATH}` })
  })
})

describe("Arguments", () => {
  const known = async (text: string, given: Record<string, string> = {}) => {
    const { stages } = await planOf(`${text}\nRUN x\nCMD x`, { ...imagesOf({ node: {} }), arguments: given })
    const { PATH: _, ...rest } = (stages.at(-1)!.steps.at(-1) as RunStep).environment
    return rest
  }

  test.for<[name: string, text: string, given: Record<string, string>, found: Record<string, string>]>([
    ["of a stage are not another's", "FROM node AS a\nARG X=1\nFROM node", {}, {}],
    ["of a stage are those of what stands on it", "FROM node AS a\nARG X=1\nFROM a", {}, { X: "1" }],
    ["before FROM are for who asks", "ARG X=1 Y=2\nFROM node\nARG X", {}, { X: "1" }],
    ["before FROM are not for who says a value", "ARG X=1\nFROM node\nARG X=2", {}, { X: "2" }],
    ["of the build win", "ARG X=1\nFROM node\nARG X=2 Y", { X: "3", Y: "4", Z: "5" }, { X: "3", Y: "4" }],
    [
      "tell the platform to who asks",
      "FROM node\nARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDARCH TARGETSTAGE",
      {},
      {
        TARGETPLATFORM: "linux/amd64",
        TARGETOS: "linux",
        TARGETARCH: "amd64",
        TARGETVARIANT: "",
        BUILDARCH: "amd64",
        TARGETSTAGE: "default",
      },
    ],
    ["tell no platform to who doesn't ask", "FROM node\nENV A=$TARGETARCH", {}, { A: "" }],
    [
      "are proxies only for who asks",
      "FROM node\nARG HTTPS_PROXY",
      { HTTP_PROXY: "http://a", HTTPS_PROXY: "http://b" },
      { HTTPS_PROXY: "http://b" },
    ],
  ])("%s", async ([, text, given, found]) => expect(await known(text, given)).toEqual(found))

  test("of the build are refused with a NUL, used or not", async () => {
    await expect(planOf("FROM torpor/debian:13\nCMD x", { arguments: { A: "a\0b" } })).rejects.toThrow(
      "the build argument 'A' holds a NUL character",
    )
  })

  test("that are proxies are beside the plan's steps, for every RUN", async () => {
    const { proxies, settings } = await planOf("FROM torpor/debian:13\nCMD x", {
      arguments: { http_proxy: "http://a", NO_PROXY: "b", other: "c" },
    })
    expect(proxies).toEqual({ HTTP_PROXY: "http://a", http_proxy: "http://a", NO_PROXY: "b", no_proxy: "b" })
    expect(Object.keys(settings.environment)).toEqual(["PATH"])
  })
})
