import { describe, expect, test } from "vitest"
import type { BaseConfig } from "../../../images/dockerfile/base-config.ts"
import type { CopyStep, RunStep } from "../../../images/dockerfile/step.ts"
import { imagesOf, planOf } from "./planning.ts"

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

describe("Stages", () => {
  test.for<[name: string, text: string, stages: string[]]>([
    ["stand on each other", "FROM node AS a\nFROM a AS b\nFROM b", ["a on sha256:node", "b on 0", "- on 1"]],
    ["have names in any case", "FROM node AS Build\nFROM bUILD", ["build on sha256:node", "- on 0"]],
    ["may have an image's name", "FROM node AS node\nFROM node", ["node on sha256:node", "- on 0"]],
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
})

describe("Arguments", () => {
  const environment = async (text: string, given: Record<string, string> = {}) => {
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
  ])("%s", async ([, text, given, found]) => expect(await environment(text, given)).toEqual(found))

  test("that are proxies are beside the plan's steps, for every RUN", async () => {
    const { proxies, settings } = await planOf("FROM torpor/debian:13\nCMD x", {
      arguments: { http_proxy: "http://a", NO_PROXY: "b", other: "c" },
    })
    expect(proxies).toEqual({ HTTP_PROXY: "http://a", http_proxy: "http://a", NO_PROXY: "b", no_proxy: "b" })
    expect(Object.keys(settings.environment)).toEqual(["PATH"])
  })
})

describe("What a base brings", () => {
  const NODE: Partial<BaseConfig> = {
    environment: { PATH: "/node/bin", NODE_VERSION: "22" },
    workingDirectory: "/srv",
    user: "node",
    entrypoint: ["docker-entrypoint.sh"],
    command: ["node"],
    exposedPorts: [3000],
    labels: { a: "1" },
    volumes: ["/data"],
    stopSignal: "SIGINT",
    healthcheck: { argv: ["h"], intervalMs: 1, timeoutMs: 1, startPeriodMs: 0, startIntervalMs: 1, retries: 1 },
    shell: ["/bin/ash", "-c"],
  }
  const settings = async (text: string) => (await planOf(text, imagesOf({ node: NODE, bare: {} }))).settings

  test("is the running image's, and so it is through a stage between", async () => {
    const { environment, workingDirectory, user, exposedPorts, labels, volumes, stopSignal, healthcheck } = NODE
    const brought = { environment, workingDirectory, user, exposedPorts, labels, volumes, stopSignal, healthcheck }
    const expected = { ...brought, argv: ["docker-entrypoint.sh", "node"], onBuild: [] }
    expect(await settings("FROM node")).toEqual(expected)
    expect(await settings("FROM node AS a\nFROM a")).toEqual(expected)
  })

  test("is in force for its steps and what they say on top", async () => {
    const { stages, settings: found } = await planOf(
      "FROM node\nRUN a\nWORKDIR b\nENV PATH=/x:$PATH\nEXPOSE 80\nLABEL b=2\nVOLUME /more\nHEALTHCHECK NONE\nUSER 0\nSTOPSIGNAL 9\nCMD c",
      imagesOf({ node: NODE }),
    )
    expect(stages[0]!.steps).toMatchObject([
      { argv: ["/bin/ash", "-c", "a"], user: "node", workingDirectory: "/srv", environment: NODE.environment },
      { path: "/srv/b", owner: "node" },
    ])
    expect(found).toMatchObject({
      argv: ["docker-entrypoint.sh", "/bin/ash", "-c", "c"],
      environment: { PATH: "/x:/node/bin", NODE_VERSION: "22" },
      workingDirectory: "/srv/b",
      user: "0",
      exposedPorts: [3000, 80],
      labels: { a: "1", b: "2" },
      volumes: ["/data", "/more"],
      stopSignal: "9",
      healthcheck: null,
    })
  })

  test("without PATH is Docker's default", async () => {
    const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    expect((await settings("FROM bare\nCMD x")).environment).toEqual({ PATH })
    expect((await settings("FROM scratch\nCMD x")).environment).toEqual({ PATH })
  })

  test.for<[text: string, argv: string[]]>([
    ["FROM node", ["docker-entrypoint.sh", "node"]],
    ['FROM node\nCMD ["a"]', ["docker-entrypoint.sh", "a"]],
    ["FROM node\nCMD a", ["docker-entrypoint.sh", "/bin/ash", "-c", "a"]],
    ["FROM node\nCMD []", ["docker-entrypoint.sh"]],
    ['FROM node\nENTRYPOINT ["e"]', ["e"]],
    ["FROM node\nENTRYPOINT e", ["/bin/ash", "-c", "e"]],
    ['FROM node\nENTRYPOINT ["e"]\nCMD ["a"]', ["e", "a"]],
    ['FROM node\nCMD ["a"]\nENTRYPOINT ["e"]', ["e", "a"]],
    ['FROM node\nENTRYPOINT []\nCMD ["a"]', ["a"]],
    ['FROM node AS a\nCMD ["a"]\nFROM a\nENTRYPOINT ["e"]', ["e"]],
    ['FROM node AS a\nENTRYPOINT ["e"]\nFROM a\nCMD ["b"]', ["e", "b"]],
    ['FROM bare\nCMD ["a"]', ["a"]],
  ])("and what %j says decide what is started", async ([text, argv]) => {
    expect((await settings(text)).argv).toEqual(argv)
  })

  test.for<[name: string, config: Partial<BaseConfig>]>([
    ["a user", { user: "x".repeat(5000) }],
    ["a shell", { shell: ["x".repeat(5000)] }],
    ["a command", { command: ["x".repeat(2_000_000)] }],
  ])("is refused with too large %s", async ([, config]) => {
    await expect(planOf("FROM node\nCMD x", imagesOf({ node: config }))).rejects.toThrow(
      "Dockerfile line 1: the configuration of 'node' is too large",
    )
  })

  test("is refused with too large an environment", async () => {
    const environment = { A: "x".repeat(200_000) }
    await expect(planOf("FROM node\nCMD x", imagesOf({ node: { environment } }))).rejects.toThrow(
      "Dockerfile line 1: ENV says more than",
    )
  })
})
