import { describe, expect, test } from "vitest"
import { directories, plan } from "./planning.ts"

describe("WORKDIR and USER", () => {
  test.for<[lines: string[], paths: string[]]>([
    [["WORKDIR /a/b/"], ["/a/b"]],
    [["WORKDIR a"], ["/a"]],
    [
      ["WORKDIR /a", "WORKDIR b", "WORKDIR ../c/./d"],
      ["/a", "/a/b", "/a/c/d"],
    ],
    [["WORKDIR /../../a"], ["/a"]],
    [["WORKDIR /"], ["/"]],
    [["ENV D=/x", "WORKDIR $D/${E:-y}"], ["/x/y"]],
    [["WORKDIR /a  b"], ["/a  b"]],
    [['WORKDIR "/a b"'], ["/a b"]],
  ])("%s", async ([lines, paths]) => expect(await directories(...lines)).toEqual(paths))

  test("hold from their line on, for steps and for the running image", async () => {
    const { stages, settings } = await plan("RUN a", "USER app:staff", "WORKDIR /w", "RUN b", "USER 1000")
    expect(stages[0]!.steps).toMatchObject([
      { user: "", workingDirectory: "/" },
      { kind: "directory", path: "/w", owner: "app:staff" },
      { user: "app:staff", workingDirectory: "/w" },
    ])
    expect(settings).toMatchObject({ user: "1000", workingDirectory: "/w" })
  })
})

describe("What is kept of an image and changes nothing of how it runs", () => {
  test("are its volumes, each once", async () => {
    const { volumes } = (await plan("ENV D=/data", "VOLUME $D /logs", 'VOLUME ["/a b", "/data"]')).settings
    expect(volumes).toEqual(["/data", "/logs", "/a b"])
  })

  test.for(["SIGTERM", "quit", "9", "SIGRTMIN+3", "$S"])("is its stop signal: %s", async (signal) => {
    expect((await plan("ARG S=SIGINT", `STOPSIGNAL ${signal}`)).settings.stopSignal).toBe(
      signal.replace("$S", "SIGINT"),
    )
  })

  test("is its last health check, with Docker's defaults", async () => {
    const check = async (...lines: string[]) => (await plan(...lines)).settings.healthcheck
    expect(await check("HEALTHCHECK CMD curl -f http://localhost/ || exit 1")).toEqual({
      argv: ["/bin/sh", "-c", "curl -f http://localhost/ || exit 1"],
      intervalMs: 30_000,
      timeoutMs: 30_000,
      startPeriodMs: 0,
      startIntervalMs: 5000,
      retries: 3,
    })
    const flags = "--interval=1m30s --timeout=.5s --start-period=1h --start-interval=0s --retries=7"
    expect(await check("HEALTHCHECK CMD a", `healthcheck ${flags} cmd ["b"]`)).toEqual({
      argv: ["b"],
      intervalMs: 90_000,
      timeoutMs: 500,
      startPeriodMs: 3_600_000,
      startIntervalMs: 5000,
      retries: 7,
    })
    expect(await check("HEALTHCHECK CMD a", "HEALTHCHECK NONE")).toBeNull()
    expect((await plan()).settings).toMatchObject({ volumes: [], stopSignal: null, healthcheck: null })
  })
})

test("MAINTAINER changes nothing", async () => {
  expect((await plan("MAINTAINER Somebody O'Else <a@example.org>")).stages[0]!.steps).toEqual([])
})
