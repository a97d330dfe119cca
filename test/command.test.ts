import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, test } from "vitest"
import { CommandError, runCommand } from "../src/command.ts"
import { eventually } from "./fixtures/eventually.ts"

const never = new AbortController().signal
const sh = (script: string, options: Partial<Parameters<typeof runCommand>[2]> = {}) =>
  runCommand("sh", ["-c", script], { signal: never, ...options })

test("What a program prints is the answer, whole", async () => {
  expect(await sh("printf 'é\\n'; printf more")).toBe("é\nmore")
  expect((await sh("head -c 3000000 /dev/zero | tr '\\0' x")).length).toBe(3_000_000)
})

test("Its input is what was given, and nothing when nothing was", async () => {
  expect(await sh("cat", { input: "über" })).toBe("über")
  expect(await sh("cat")).toBe("")
})

test("A program that ends without reading its input has not failed for that", async () => {
  expect(await sh("exec true", { input: "x".repeat(10_000_000) })).toBe("")
})

test("It runs in the same environment whoever started us, or in exactly the one given", async () => {
  process.env["TORPOR_STRAY"] = "1"
  const own = await runCommand("env", [], { signal: never })
  expect(
    new Set(
      own
        .trim()
        .split("\n")
        .map((line) => line.split("=")[0]),
    ),
  ).toEqual(new Set(["PATH", "LC_ALL", "HOME"]))
  expect(await runCommand("/usr/bin/env", [], { signal: never, env: { A: "b" } })).toBe("A=b\n")
})

test("Words are words: nothing is expanded", async () => {
  expect(await runCommand("printf", ["%s|", "$(id)", "a b", "*", ""], { signal: never })).toBe("$(id)|a b|*||")
})

test("A failure has the exit code and the last lines that were said", async () => {
  const error = await sh("echo out; for n in 1 2 3 4; do echo line $n >&2; done; exit 7").catch(
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(CommandError)
  expect(error).toMatchObject({ message: "sh failed (7): line 2 | line 3 | line 4", exitCode: 7 })
})

test("A failure that says nothing on stderr has what it printed", async () => {
  await expect(sh("echo why; exit 1")).rejects.toThrow("sh failed (1): why")
})

test("However much a failing program says, only the end is kept", async () => {
  const error = (await sh("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo last >&2; exit 1").catch(
    (thrown: unknown) => thrown,
  )) as CommandError
  expect(error.output.length).toBeLessThanOrEqual(4096)
  expect(error.output).toMatch(/xlast\n$/)
})

test("A program that was killed has no exit code", async () => {
  await expect(sh("kill -KILL $$")).rejects.toMatchObject({ exitCode: null, message: /^sh failed \(killed\)/ })
})

test("A program that isn't there is said with what to do", async () => {
  await expect(runCommand("torpor-no-such-program", [], { signal: never })).rejects.toMatchObject({
    name: "OperatorError",
    message: "torpor-no-such-program is not installed: run `torpor setup`.",
  })
})

test("What is aborted before it starts is not started", async () => {
  await using directory = await temporary()
  const signal = AbortSignal.abort(new Error("no"))
  await expect(sh(`touch ${directory.path}/started`, { signal })).rejects.toThrow("no")
  await expect(readFile(`${directory.path}/started`)).rejects.toThrow("ENOENT")
})

test.each([
  ["ends by itself", ""],
  ["ignores SIGTERM", "trap '' TERM; "],
])("An abort ends a program that %s and what it started, and rejects when they are gone", async (_, trap) => {
  await using directory = await temporary()
  const stop = new AbortController()
  const file = join(directory.path, "pids")
  const running = sh(`${trap}sleep 1000 & echo $! $$ > ${file}.new; mv ${file}.new ${file}; wait; sleep 1000`, {
    signal: stop.signal,
  })
  const ended = expect(running).rejects.toThrow("enough")
  const pids = (await untilThere(file)).trim().split(" ").map(Number)
  stop.abort(new Error("enough"))
  await ended
  expect(pids).toHaveLength(2)
  for (const pid of pids) expect(await isRunning(pid), String(pid)).toBe(false)
})

const temporary = async () => {
  const path = await mkdtemp(join(tmpdir(), "torpor-command-"))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) }
}

const untilThere = (file: string): Promise<string> => eventually(() => readFile(file, "utf8"), { interval: 10 })

/** An orphan that has ended may be a zombie until init looks. */
const isRunning = async (pid: number): Promise<boolean> => {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => ") Z")
  return !/\) [ZX]/.test(stat)
}
