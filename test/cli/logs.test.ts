import { spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { parseSince } from "../../src/cli/logs.ts"
import { createApp, credentials } from "../api/api-under-test.ts"
import { startArchive, type ArchiveUnderTest } from "../api/cloudwatch-logs/archive-under-test.ts"
import { PLAIN, runToEnd, torpor } from "./torpor.ts"

/** What a command is told that has no configuration. */
const region = "us-east-1"

let archive: ArchiveUnderTest
let environment: Record<string, string>
let id: string
beforeAll(async () => {
  archive = await startArchive()
  environment = {
    ...PLAIN,
    TORPOR_API_PORT: String(archive.api.port),
    TORPOR_ACCESS_KEY_ID: credentials.accessKeyId,
    TORPOR_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  }
  id = await archive.begin("/aws/lambda-microvms/app", "2026/01/31[1.0]microvm-1", { region })
  await archive.say(id, "one \u001b[31mred", "two")
})
afterAll(() => archive?.[Symbol.asyncDispose]())
const run = (...words: string[]) => runToEnd(torpor("logs", ...words), environment)

describe("torpor logs", () => {
  test("prints what an image's group has, with its streams; of one stream the words alone; nothing that acts on a terminal", async () => {
    expect(await run("app")).toEqual({
      code: 0,
      stderr: "",
      stdout: "2026/01/31[1.0]microvm-1 one [31mred\n2026/01/31[1.0]microvm-1 two\n",
    })
    expect((await run("app", "2026/01/31[1.0]microvm-1")).stdout).toBe("one [31mred\ntwo\n")
    expect((await run("app", "-t", "--since", "1h")).stdout).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z 2026\S+ one/)
    expect((await run("app", "--since", "2100-01-01")).stdout).toBe("")
  })

  test("says in one sentence what isn't there or isn't meant", async () => {
    expect(await run("none")).toEqual({
      code: 1,
      stdout: "",
      stderr: "No logs found: no log group, image or function 'none' has any.\n",
    })
    expect((await run("app", "--since", "soon")).code).toBe(2)
    expect((await run("microvm-11111111-2222-4333-8444-555555555555", "s")).code).toBe(2)
    expect((await run("microvm-11111111-2222-4333-8444-555555555555")).stderr).toContain("MicroVM not found")
    const nowhere = await runToEnd(torpor("logs", "-f", "app"), { ...environment, TORPOR_API_PORT: "9" })
    expect([nowhere.code, nowhere.stderr]).toEqual([1, expect.stringContaining("Nothing answers at")])
  })

  test("follows a MicroVM of which nothing is kept no further than to say so", async () => {
    const client = archive.api.client({ region })
    const { microvmId = "" } = await client.runMicrovm({ imageIdentifier: await createApp(client, region) })
    const ended = await run("-f", microvmId)
    expect([ended.code, ended.stderr]).toEqual([
      1,
      `Nothing is kept of what ${microvmId} says: its logging is disabled.\n`,
    ])
    await client.terminateMicrovm({ microvmIdentifier: microvmId })
    expect(await run("-f", microvmId)).toEqual({ code: 0, stdout: "", stderr: "" })
  })

  test("follows a group as it is written, until it is stopped", async () => {
    const [file = "", ...args] = torpor("logs", "-f", "app", "2026")
    const child = spawn(file, args, { env: environment, stdio: ["ignore", "pipe", "inherit"] })
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const next = async () => (await lines.next()).value as string
    expect([await next(), await next()]).toEqual([expect.stringContaining("one"), expect.stringContaining("two")])
    await archive.say(id, "three")
    expect(await next()).toBe("2026/01/31[1.0]microvm-1 three")
    child.kill("SIGINT")
    expect((await once(child, "exit"))[0]).toBe(130)
  })
})

test("A time to begin at is so long ago, or a date", () => {
  const now = Date.parse("2026-01-31T12:00:00Z")
  expect(["90s", "10m", "2h", "1d", "2026-01-31T11:00Z", undefined].map((text) => now - parseSince(text, now))).toEqual(
    [90_000, 600_000, 7_200_000, 86_400_000, 3_600_000, now],
  )
  for (const text of ["", "10", "m", "1w", "-1h", "31.1.2026", "2026-13-01"])
    expect(() => parseSince(text, now)).toThrow("--since wants a time")
})
