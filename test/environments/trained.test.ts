import { randomUUID } from "node:crypto"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { ensureRuntime } from "../../images/runtimes/runtime-disks.ts"
import type { RuntimeName } from "../../images/runtimes/runtimes.ts"
import { makeRuntimeBase } from "../../machines/environments/base-making.ts"
import { parseConfig } from "../../src/config.ts"
import { definitionOf, launchFunction, makeFunctionDisks, type LaunchedFrom } from "./launched.ts"
import { openVmHostUnderTest, type VmHostUnderTest } from "./vm-host-under-test.ts"

/** What each says of its process that no sibling may say, and where it was started. */
const CODE = {
  "app.mjs": `
    import { randomBytes, randomInt, randomUUID } from "node:crypto"
    import { readFileSync, writeFileSync } from "node:fs"
    export const handler = async () => {
      writeFileSync("/tmp/own", "")
      const random = [randomUUID(), randomBytes(8).toString("hex"), randomInt(2 ** 47), Math.random()]
      const hasWaited = readFileSync("/proc/self/environ", "utf8").includes("_TORPOR_WAITING")
      return { random, hasWaited, own: process.env.OWN }
    }`,
  "app.py": `
import os, random, secrets, ssl, uuid
def handler(event, context):
    open("/tmp/own", "w").close()
    numbers = [random.random(), str(uuid.uuid4()), secrets.token_hex(8), ssl.RAND_bytes(8).hex()]
    has_waited = "_TORPOR_WAITING" in open("/proc/self/environ").read()
    return {"random": numbers, "hasWaited": has_waited, "own": os.environ["OWN"]}`,
}
const { signal } = new AbortController()
let under: VmHostUnderTest
beforeAll(async () => {
  under = await openVmHostUnderTest()
})
afterAll(() => under[Symbol.asyncDispose]())

const open = async (runtime: RuntimeName): Promise<LaunchedFrom> => {
  const { host, artifacts, snapshots, createOverlay, places } = under
  const config = parseConfig({ TORPOR_CACHE_DIR: process.env["TORPOR_CACHE_DIR"] })
  const ground = await ensureRuntime(runtime, { ...config, npmEnvironment: {} }, () => {}, signal)
  const id = randomUUID()
  const directory = join(places.dataDirectory, "bases", id)
  const size = { memoryMiB: 384 }
  const made = await makeRuntimeBase(
    { host, artifacts, snapshots, createOverlay },
    { id, runtime, ...size, ground, directory },
    signal,
  )
  const disks = await makeFunctionDisks(join(places.dataDirectory, runtime), CODE)
  return { under, base: { ...made, ...size, directory }, runtime: ground, disks }
}

describe("Functions of one trained runtime", () => {
  test.each([
    ["nodejs24.x", 8],
    ["python3.13", 4],
  ] as const)("%s have their own variables, and no random number that a sibling has", async (runtime, siblings) => {
    const from = await open(runtime)
    const numbers: unknown[] = []
    for (let sibling = 0; sibling < siblings; sibling++) {
      await using launched = await launchFunction(from, definitionOf(runtime, { OWN: String(sibling) }))
      const answer = (await launched.invoke({})) as { random: unknown[] }
      expect(answer).toMatchObject({ own: String(sibling), hasWaited: true })
      numbers.push(...answer.random)
    }
    expect(new Set(numbers).size).toBe(siblings * 4)
    // What counts at a process's start only.
    const otherwise = { OWN: "otherwise", NODE_OPTIONS: "--no-warnings", PYTHONOPTIMIZE: "1" }
    await using launched = await launchFunction(from, definitionOf(runtime, otherwise))
    expect(await launched.invoke({})).toMatchObject({ own: "otherwise", hasWaited: false })
  })
})
