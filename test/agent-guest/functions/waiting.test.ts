import { join } from "node:path"
import { describe, expect, test } from "vitest"
import type { Language } from "../../../images/runtimes/languages.ts"
import { FUNCTION_ENV, openRuntime } from "./function.ts"
import { eventOf, openApi, openFiles, openPort, resultOf, startProgram } from "./program.ts"

/** A runtime that waits, trained by `trainings`, which are handlers in its own directory, and then given a function. */
const give = async (
  language: Language,
  { trainings, code, handler }: { trainings: readonly string[]; code: Record<string, string>; handler: string },
) => {
  await using stack = new AsyncDisposableStack()
  const runtime = stack.use(await openRuntime(language))
  const task = stack.use(await openFiles(code))
  const program = stack.use(
    startProgram({ port: 0 }, [join(runtime.path, "bootstrap")], {
      ...FUNCTION_ENV,
      LAMBDA_TASK_ROOT: task.path,
      LAMBDA_RUNTIME_DIR: runtime.path,
      _TORPOR_WAITING: "1",
      OLD: "gone",
    }),
  )
  const tell = (port: number, root: string, named: string, isTraining: boolean, more = {}) => {
    const env = { ...FUNCTION_ENV, PATH: process.env["PATH"], LAMBDA_TASK_ROOT: root, _HANDLER: named, ...more }
    program.tell(
      JSON.stringify({ env: { ...env, AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${port}` }, cwd: root, isTraining }),
    )
  }
  // As in a guest, where what waits for the next connects between two lives.
  const programPort = await openPort()
  stack.defer(() => programPort.close())
  for (const named of trainings) {
    await using api = await openApi({ programPort })
    tell(api.port, join(runtime.path, "training"), named, true)
    for (let n = 0; n < 2; n++) {
      const answer = api.invoke(eventOf({ n }, { requestId: `training-${n}` }))
      expect(JSON.parse((await resultOf(answer)).response)).toMatchObject({ statusCode: 200 })
      await answer.settled
    }
  }
  // What it says in training goes the same way as a function's words, which is trained too.
  const lines = { nodejs: 4, python: 5 }[language as string] ?? 0
  await expect.poll(() => program.said.stdout.split("\n").length - 1).toBe(lines * trainings.length)
  expect(program.said.stderr).toBe("")
  program.said.stdout = ""
  const api = stack.use(await openApi({ programPort }))
  tell(api.port, task.path, handler, false, { OWN: "mine" })
  await api.initialised
  const all = stack.move()
  return { api, program, path: task.path, [Symbol.asyncDispose]: () => all.disposeAsync() }
}

const ENV = { ...FUNCTION_ENV, OWN: "mine" }

describe("A runtime that has waited for its function", () => {
  test("of Node is as one that was started with it, and has nothing of its training", async () => {
    const code = `
      const { readFileSync, readlinkSync } = require("node:fs")
      console.log("loaded")
      const clock = () => {
        const before = Date.now()
        const at = performance.timeOrigin + performance.now()
        return at > before - 100 && at < Date.now() + 100
      }
      exports.handler = async () => ({
        env: process.env,
        cwd: process.cwd(),
        stdin: readFileSync(0, "utf8"),
        links: readlinkSync("/proc/self/fd/0"),
        cached: Object.keys(require.cache),
        clock: clock(),
        listeners: process.listenerCount("uncaughtException"),
        random: [Math.random(), require("node:crypto").randomUUID()],
      })`
    const trainings = ["module.handler", "script.handler"]
    await using given = await give("nodejs", { trainings, code: { "index.js": code }, handler: "index.handler" })
    const { api, program, path } = given
    const { response } = await resultOf(api.invoke(eventOf({}, { requestId: "first" })))
    expect(JSON.parse(response), program.said.stderr).toEqual({
      env: {
        ...ENV,
        PATH: process.env["PATH"],
        LAMBDA_TASK_ROOT: path,
        _HANDLER: "index.handler",
        AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${api.port}`,
      },
      cwd: path,
      stdin: "",
      links: "/dev/null",
      cached: [join(path, "index.js")],
      clock: true,
      listeners: 1,
      random: [expect.any(Number), expect.any(String)],
    })
    expect(program.said.stdout).toMatch(/^\S+\t\S+\tINFO\tloaded\n$/)
    expect(program.said.stderr).toBe("")
  })

  test("of Python is as one that was started with it, and has nothing of its training", async () => {
    const code = `
import logging, os, sys
logging.warning("loaded")
def handler(event, context):
    return {
        "env": dict(os.environ),
        "cwd": os.getcwd(),
        "stdin": sys.stdin.read(),
        "links": os.readlink("/proc/self/fd/0"),
        "path": sys.path[:4],
        "modules": sorted(sys.modules),
        "handlers": len(logging.getLogger().handlers),
        "level": logging.getLogger().level,
    }`
    const app = { code: { "app.py": code }, handler: "app.handler" }
    await using given = await give("python", { trainings: ["function.handler", "function.handler"], ...app })
    await using untrained = await give("python", { trainings: [], ...app })
    const { api, program, path } = given
    const { response } = await resultOf(api.invoke(eventOf({}, { requestId: "first" })))
    const found = JSON.parse(response) as { modules: string[]; path: string[]; env: object }
    const other = await resultOf(untrained.api.invoke(eventOf({}, { requestId: "other" })))
    // Else a function's own module of such a name would not be loaded.
    expect(found.modules).toEqual((JSON.parse(other.response) as typeof found).modules)
    expect(found, program.said.stderr).toMatchObject({
      env: { ...ENV, _HANDLER: "app.handler", LAMBDA_TASK_ROOT: path },
      cwd: path,
      stdin: "",
      links: "/dev/null",
      handlers: 1,
      level: 30,
    })
    expect(found.env).not.toHaveProperty("OLD")
    expect(found.path).toEqual([
      path,
      expect.stringMatching(/^\/opt.*site-packages$/),
      "/opt/python",
      expect.any(String),
    ])
    expect(program.said.stdout).toMatch(/^\[WARNING\]\t\S+\t\tloaded\n$/)
    expect(program.said.stderr).toBe("")
  })

  test("ends when nobody is left to give it one", async () => {
    for (const language of ["nodejs", "python"] as const) {
      await using runtime = await openRuntime(language)
      await using program = startProgram({ port: 0 }, [join(runtime.path, "bootstrap")], {
        LAMBDA_RUNTIME_DIR: runtime.path,
        _TORPOR_WAITING: "1",
      })
      program.leave()
      expect(await program.closed).toEqual([0, null])
    }
  })
})
