import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { lock, tryLock } from "../src/file-lock.ts"

const MODULE = new URL("../src/file-lock.ts", import.meta.url).href
const never = new AbortController().signal
let directory: string
let count = 0

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "torpor-lock-"))
})
afterAll(() => rm(directory, { recursive: true }))

const fresh = () => join(directory, `lock-${count++}`)

/** Another process that holds the lock, in a process group of its own, and doesn't end by itself. */
const holder = async (path: string): Promise<ChildProcess> => {
  const code = `
    import { lock } from ${JSON.stringify(MODULE)}
    process.on("SIGINT", () => process.stdout.write("interrupted"))
    await lock(${JSON.stringify(path)}, new AbortController().signal)
    process.stdout.write("locked")
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], {
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
  })
  await once(child.stdout as NodeJS.EventEmitter, "data")
  return child
}

const end = async (child: ChildProcess) => {
  child.kill("SIGKILL")
  await once(child, "exit")
}

test("One holder at a time; whoever doesn't want to wait is told so", async () => {
  const path = fresh()
  const held = await tryLock(path, never)
  expect(held).toBeDefined()
  expect(await tryLock(path, never)).toBeUndefined()
  await held?.[Symbol.asyncDispose]()
  await using again = await tryLock(path, never)
  expect(again).toBeDefined()
})

test("Whoever waits is told that somebody else has it, and gets it when that one lets go", async () => {
  const path = fresh()
  const first = await lock(path, never)
  const waits = Promise.withResolvers<void>()
  let got = false
  const second = lock(path, never, waits.resolve).then((held) => {
    got = true
    return held
  })
  await waits.promise
  expect(got).toBe(false)
  await first[Symbol.asyncDispose]()
  await (await second)[Symbol.asyncDispose]()
})

test("A hundred who want it have it one after the other", { timeout: 300_000 }, async () => {
  const path = fresh()
  let inside = 0
  await Promise.all(
    Array.from({ length: 100 }, async () => {
      await using _ = await lock(path, never)
      expect(++inside).toBe(1)
      await new Promise((resolve) => setImmediate(resolve))
      inside--
    }),
  )
})

test("A free lock is not announced as taken", async () => {
  await using _ = await lock(fresh(), never, () => expect.unreachable("nobody has it"))
})

test("Who is aborted while it waits gets nothing, and keeps nothing from the next", async () => {
  const path = fresh()
  const first = await lock(path, never)
  const stop = new AbortController()
  const waiting = lock(path, stop.signal, () => stop.abort(new Error("enough")))
  await expect(waiting).rejects.toThrow("enough")
  await first[Symbol.asyncDispose]()
  await using next = await tryLock(path, never)
  expect(next).toBeDefined()
})

test("Who is aborted from the start takes nothing", async () => {
  const path = fresh()
  await expect(lock(path, AbortSignal.abort(new Error("no")))).rejects.toThrow("no")
  await using next = await tryLock(path, never)
  expect(next).toBeDefined()
})

test("An abort after it was taken changes nothing: the owner still tidies up under it", async () => {
  const path = fresh()
  const stop = new AbortController()
  const held = await lock(path, stop.signal)
  stop.abort()
  expect(await tryLock(path, never)).toBeUndefined()
  await held[Symbol.asyncDispose]()
})

test("The lock of a killed process is gone with it", async () => {
  const path = fresh()
  const other = await holder(path)
  expect(await tryLock(path, never)).toBeUndefined()
  await end(other)
  await using held = await tryLock(path, never)
  expect(held).toBeDefined()
})

test("A terminal's Ctrl-C goes to a whole process group, and the lock holds until its owner ends", async () => {
  const path = fresh()
  const other = await holder(path)
  const interrupted = once(other.stdout as NodeJS.EventEmitter, "data")
  process.kill(-(other.pid ?? NaN), "SIGINT")
  await interrupted
  expect(await tryLock(path, never)).toBeUndefined()
  await end(other)
})

test("A place where there can be no lock is said by its path", async () => {
  await expect(lock(join(directory, "none/lock"), never)).rejects.toThrow(
    expect.objectContaining({
      name: "OperatorError",
      message: expect.stringMatching(/none\/lock could not be locked: .*no such file or directory/),
    }),
  )
})
