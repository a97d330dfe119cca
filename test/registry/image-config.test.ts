import { describe, expect, test } from "vitest"
import { BARE } from "../../images/dockerfile/ground.ts"
import { parseImageConfig } from "../../images/registry/image-config.ts"

const parse = (document: unknown) => parseImageConfig(JSON.stringify(document))
const ofConfig = (config: object) => parse({ os: "linux", architecture: "amd64", config }).config

test("What an image brings is read", () => {
  expect(
    parse({
      os: "linux",
      architecture: "amd64",
      created: "2026-01-01T00:00:00Z",
      config: {
        Env: ["PATH=/usr/bin:/bin", "EMPTY=", "EQUALS=a=b", "BARE", "__proto__=x"],
        WorkingDir: "/app",
        User: "1000:1000",
        Entrypoint: ["/entry.sh"],
        Cmd: ["serve", "--port=80"],
        ExposedPorts: { "80/tcp": {}, "53/udp": {}, "8000-8002": {}, "443/TCP": {}, nonsense: {} },
        Labels: { maintainer: "somebody", __proto__: "x" },
        Volumes: { "/data": {} },
        StopSignal: "SIGQUIT",
        Healthcheck: { Test: ["CMD-SHELL", "curl -f localhost"], Interval: 5e9, Timeout: 0, Retries: 5 },
        Shell: ["/bin/bash", "-c"],
        OnBuild: ["COPY . /app", "RUN make"],
      },
      rootfs: { type: "layers", diff_ids: ["sha256:a", "sha256:b"] },
    }),
  ).toEqual({
    layers: 2,
    config: {
      environment: Object.fromEntries([
        ["PATH", "/usr/bin:/bin"],
        ["EMPTY", ""],
        ["EQUALS", "a=b"],
        ["BARE", ""],
        ["__proto__", "x"],
      ]),
      workingDirectory: "/app",
      user: "1000:1000",
      entrypoint: ["/entry.sh"],
      command: ["serve", "--port=80"],
      exposedPorts: [80, 8000, 8001, 8002, 443],
      labels: { maintainer: "somebody" },
      volumes: ["/data"],
      stopSignal: "SIGQUIT",
      healthcheck: {
        argv: ["/bin/sh", "-c", "curl -f localhost"],
        intervalMs: 5000,
        timeoutMs: 30_000,
        startPeriodMs: 0,
        startIntervalMs: 5000,
        retries: 5,
      },
      shell: ["/bin/bash", "-c"],
      onBuild: ["COPY . /app", "RUN make"],
    },
  })
})

test("An image that says nothing has Docker's defaults", () => {
  expect(parse({})).toEqual({ layers: 0, config: BARE })
  expect(parse({ config: null, rootfs: null })).toEqual({ layers: 0, config: BARE })
  expect(ofConfig({ Env: null, Cmd: [], Entrypoint: null, Labels: null, StopSignal: "", WorkingDir: "" })).toEqual(BARE)
})

test.each([
  [{ Test: ["NONE"] }, null],
  [{ Test: [] }, null],
  [{}, null],
  [{ Test: ["CMD", "/check", "now"] }, ["/check", "now"]],
])("A health check that is %j", (Healthcheck, argv) => {
  expect(ofConfig({ Healthcheck }).healthcheck?.argv ?? null).toEqual(argv)
})

test("A working directory is absolute, however it is written", () => {
  expect(ofConfig({ WorkingDir: "app" }).workingDirectory).toBe("/app")
})

describe("A configuration is refused", () => {
  test.each([
    ["{", "is no JSON"],
    ["[]", "it: "],
    ["null", "it: "],
    ['{"config": []}', "config: "],
    ['{"config": {"Env": "A=b"}}', "config.Env: "],
    ['{"config": {"Env": [7]}}', "config.Env.0: "],
    ['{"config": {"Env": ["=b"]}}', "a variable without a name"],
    ['{"config": {"Env": ["A=\\u0000"]}}', "with a NUL"],
    ['{"config": {"Cmd": {"0": "sh"}}}', "config.Cmd: "],
    ['{"config": {"Labels": {"a": 1}}}', "config.Labels.a: "],
    ['{"config": {"Labels": {"\\u001b[31m": 1}}}', "config.Labels.\\u001b[31m: "],
    ['{"config": {"Healthcheck": {"Retries": -1}}}', "config.Healthcheck.Retries: "],
    ['{"config": {"ExposedPorts": {"1-65535": {}}}}', "exposes more than 1000 ports"],
    ['{"os": "windows", "architecture": "amd64"}', "It is for windows/amd64, and VMs here are linux/amd64."],
    ['{"os": "linux", "architecture": "arm64"}', "It is for linux/arm64, and VMs here are linux/amd64."],
  ])("%s: %s", (json, why) => {
    expect(() => parseImageConfig(json)).toThrow(
      expect.objectContaining({ name: "RegistryError", message: expect.stringContaining(why) }),
    )
  })

  test.each([
    ["config.Env", { Env: Array.from({ length: 1001 }, (_, at) => `A${at}=`) }],
    ["config.Volumes", { Volumes: Object.fromEntries(Array.from({ length: 1001 }, (_, at) => [`/${at}`, {}])) }],
    ["config.User", { User: "x".repeat(200_000) }],
  ])("when %s is out of bounds", (member, config) => {
    expect(() => ofConfig(config)).toThrow(expect.objectContaining({ message: expect.stringContaining(`${member}: `) }))
  })
})

test("Half of a surrogate pair is the character that stands for what is none, wherever it is", () => {
  const half = "a\ud800"
  const config = ofConfig({
    Labels: { [half]: half },
    Env: [`A=${half}`],
    Volumes: { [half]: {} },
    User: half,
    Cmd: [half],
  })
  expect(JSON.stringify(config)).toBe(JSON.stringify(config).toWellFormed())
  expect(config).toMatchObject({
    labels: { "a\ufffd": "a\ufffd" },
    environment: { A: "a\ufffd" },
    volumes: ["a\ufffd"],
    user: "a\ufffd",
    command: ["a\ufffd"],
  })
})
