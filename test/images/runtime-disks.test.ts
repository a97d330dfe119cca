import { describe, expect, it } from "vitest"
import { ensureRuntime } from "../../images/runtimes/runtime-disks.ts"
import { RUNTIMES, type RuntimeName } from "../../images/runtimes/runtimes.ts"
import { runCommand } from "../../src/command.ts"
import { parseConfig } from "../../src/config.ts"

const { signal } = new AbortController()
const config = parseConfig(process.env)
const disksOf = (name: RuntimeName) => ensureRuntime(name, config, () => {}, signal)
const ask = (disk: string, question: string) => runCommand("debugfs", ["-R", question, disk], { signal })

describe("The disks of a runtime", () => {
  // Fetching one of these takes longer than all the rest; with TORPOR_TEST_ALL=1 they are made where their functions are tested.
  const slow = ["nodejs20.x", "python3.11", "java21", "java25"]
  const names = (Object.keys(RUNTIMES) as RuntimeName[]).filter((name) => !slow.includes(name))
  it.each(names)("of %s have what is started, for everybody to run", async (name) => {
    const { runtimeDisk } = await disksOf(name)
    expect(await ask(runtimeDisk, "stat /runtime/bootstrap")).toMatch(/Type: regular +Mode: +0755[\s\S]*User: +0 /)
    expect(await ask(runtimeDisk, "stat /lang")).toMatch(/Type: directory +Mode: +0755/)
  })

  it("have an interpreter: the root disk's own, or one of its own", async () => {
    const lookUp = async (name: RuntimeName, program: string) =>
      ask((await disksOf(name)).runtimeDisk, `stat /lang/bin/${program}`)
    expect(await lookUp("python3.13", "python3")).toContain('Fast link dest: "/usr/bin/python3.13"')
    expect(await lookUp("nodejs24.x", "node")).toContain('Fast link dest: "/usr/local/bin/node"')
    expect(await lookUp("nodejs22.x", "node")).toMatch(/Type: regular +Mode: +0755/)
  })

  it("are shared by runtimes that hold the same", async () => {
    expect(await disksOf("provided.al2")).toEqual(await disksOf("provided.al2023"))
  })
})
