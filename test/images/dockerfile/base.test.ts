import { describe, expect, test } from "vitest"
import type { BaseConfig } from "../../../images/dockerfile/base-config.ts"
import { imagesOf, planOf } from "./planning.ts"

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

  test("is in force in a stage between too, its shell as well", async () => {
    const { stages } = await planOf("FROM node AS a\nFROM a\nRUN x\nCMD x", imagesOf({ node: NODE }))
    expect(stages[1]!.steps).toMatchObject([{ argv: ["/bin/ash", "-c", "x"], user: "node", workingDirectory: "/srv" }])
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

  test.for<Partial<BaseConfig>>([{ user: "a\0" }, { command: ["a", "\0b"] }, { environment: { "\0": "a" } }])(
    "is refused with a NUL: %j",
    async (config) => {
      await expect(planOf("FROM node\nCMD x", imagesOf({ node: config }))).rejects.toThrow(
        "Dockerfile line 1: the configuration of 'node' holds a NUL character",
      )
    },
  )

  test("is refused with too large an environment", async () => {
    const environment = { A: "x".repeat(200_000) }
    await expect(planOf("FROM node\nCMD x", imagesOf({ node: { environment } }))).rejects.toThrow(
      "Dockerfile line 1: ENV says more than",
    )
  })
})
