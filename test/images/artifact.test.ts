import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { promisify } from "node:util"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { ensureArtifact, findArtifact, type Recipe } from "../../images/artifact.ts"

const run = promisify(execFile)
const signal = AbortSignal.timeout(600_000)
let cache = ""
beforeEach(async () => void (cache = await mkdtemp(join(tmpdir(), "torpor-artifact-"))))
afterEach(() => rm(cache, { recursive: true }))

const recipe = (build: Recipe["build"], ...ingredients: string[]): Recipe => ({ kind: "thing", ingredients, build })
const write = (directory: string) => writeFile(join(directory, "file"), "made")
const finished = async () => (await readdir(join(cache, "artifacts"))).filter((name) => !name.startsWith("."))
const unfinished = async () => (await readdir(join(cache, "artifacts"))).filter((name) => name.endsWith(".building"))

/** A builder in a process of its own, which never ends by itself. */
const startBuilder = async () => {
  const code = `
    import { writeFile } from "node:fs/promises"
    import { ensureArtifact } from ${JSON.stringify(new URL("../../images/artifact.ts", import.meta.url).href)}
    await ensureArtifact(process.argv[1], { kind: "thing", ingredients: ["x"], async build(directory) {
      await writeFile(directory + "/file", "half")
      console.log("half-way")
      await new Promise(() => setInterval(() => {}, 1000))
    } }, () => {}, AbortSignal.timeout(60_000))`
  const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", code, cache], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  const ended = once(child, "exit")
  await once(createInterface({ input: child.stdout }), "line")
  return {
    async kill() {
      child.kill("SIGKILL")
      await ended
    },
  }
}

/** The name of what a process of its own has found or built. */
const buildElsewhere = async () => {
  const code = `
    import { basename } from "node:path"
    import { writeFile } from "node:fs/promises"
    import { ensureArtifact } from ${JSON.stringify(new URL("../../images/artifact.ts", import.meta.url).href)}
    const build = (directory) => writeFile(directory + "/file", "made")
    const recipe = { kind: "thing", ingredients: ["x"], build }
    console.log(basename((await ensureArtifact(process.argv[1], recipe, () => {}, AbortSignal.timeout(60_000))).directory))`
  const { stdout } = await run(process.execPath, ["--input-type=module-typescript", "-e", code, cache])
  return stdout.trim()
}

describe("An artefact", () => {
  test("is built once for two builders at once, who are told", async () => {
    let builds = 0
    const lines: string[] = []
    const otherWaits = Promise.withResolvers<void>()
    const note = (line: string) => {
      lines.push(line)
      if (line.includes("waiting")) otherWaits.resolve()
    }
    const slow = recipe(async (directory) => {
      builds++
      await write(directory)
      await otherWaits.promise
    }, "x")
    const [first, second] = await Promise.all([1, 2].map(() => ensureArtifact(cache, slow, note, signal)))
    expect(builds).toBe(1)
    expect(second).toEqual(first)
    expect(await readFile(join(first!.directory, "file"), "utf8")).toBe("made")
    expect(lines.slice(0, 2).toSorted()).toEqual(["thing: building", "thing: waiting for another builder"])
    expect(lines[2]).toMatch(/^thing: built in \d+\.\d s \(thing-[0-9a-f]{16}-[0-9a-f]{8}\)$/)
    expect(await finished()).toEqual([`thing-${first!.hash}`])
  })

  test("is found without a word the next time", async () => {
    const lines: string[] = []
    const first = await ensureArtifact(cache, recipe(write, "x"), () => {}, signal)
    const never = recipe(() => Promise.reject(new Error("built again")), "x")
    expect(await ensureArtifact(cache, never, (line) => lines.push(line), signal)).toEqual(first)
    expect(lines).toEqual([])
  })

  test("is found by daemons that start at once in processes of their own, all of them the same", async () => {
    const builders = await Promise.all([1, 2, 3].map(() => buildElsewhere()))
    expect(new Set(builders).size).toBe(1)
    expect(await finished()).toEqual([builders[0]])
  })

  test("is another one when it is made again, though its recipe is the same", async () => {
    const first = await ensureArtifact(cache, recipe(write, "x"), () => {}, signal)
    await rm(first.directory, { recursive: true })
    expect(await findArtifact(cache, recipe(write, "x"))).toBeUndefined()
    const second = await ensureArtifact(cache, recipe(write, "x"), () => {}, signal)
    expect(second.hash).not.toBe(first.hash)
    expect(second.directory).not.toBe(first.directory)
    expect(await findArtifact(cache, recipe(write, "x"))).toEqual(second)
  })

  test("of a daemon that named it by its recipe alone is found, and under that name", async () => {
    const { hash } = await ensureArtifact(cache, recipe(write, "x"), () => {}, signal)
    const bare = { directory: join(cache, "artifacts", `thing-${hash.slice(0, 16)}`), hash: hash.slice(0, 16) }
    await rename(join(cache, "artifacts", `thing-${hash}`), bare.directory)
    const never = recipe(() => Promise.reject(new Error("built again")), "x")
    expect(await ensureArtifact(cache, never, () => {}, signal)).toEqual(bare)
  })

  test("stays the one that is found when such a daemon makes its own beside it", async () => {
    const ours = await ensureArtifact(cache, recipe(write, "x"), () => {}, signal)
    await mkdir(join(cache, "artifacts", `thing-${ours.hash.slice(0, 16)}`))
    expect(await findArtifact(cache, recipe(write, "x"))).toEqual(ours)
  })

  test("is not taken for one of a kind or a recipe whose name begins alike", async () => {
    const { directory, hash } = await ensureArtifact(cache, recipe(write, "x"), () => {}, signal)
    for (const other of [`${directory}-more`, `${directory}0`, join(cache, "artifacts", `a-thing-${hash}`)])
      await mkdir(other)
    expect(await findArtifact(cache, recipe(write, "x"))).toEqual({ directory, hash })
  })

  test("is another one with other ingredients, however they are cut", async () => {
    const made = await Promise.all(
      [["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""]].map((ingredients) =>
        ensureArtifact(cache, recipe(write, ...ingredients), () => {}, signal),
      ),
    )
    expect(new Set(made.map(({ hash }) => hash)).size).toBe(4)
  })

  test("that fails leaves nothing that looks finished, and the next try begins anew", async () => {
    const failing = recipe(async (directory) => {
      await write(directory)
      throw new Error("no mirror")
    }, "x")
    await expect(ensureArtifact(cache, failing, () => {}, signal)).rejects.toThrow("no mirror")
    expect(await finished()).toEqual([])
    const clean = recipe(async (directory) => {
      expect(await readdir(directory)).toEqual([])
      await write(directory)
    }, "x")
    await ensureArtifact(cache, clean, () => {}, signal)
    expect([await finished(), await unfinished()]).toMatchObject([{ length: 1 }, []])
  })

  test("whose builder was killed half-way is built by the next", async () => {
    const builder = await startBuilder()
    try {
      expect([await finished(), await unfinished()]).toMatchObject([[], { length: 1 }])
    } finally {
      await builder.kill()
    }
    const { directory } = await ensureArtifact(cache, recipe(write, "x"), () => {}, signal)
    expect(await readFile(join(directory, "file"), "utf8")).toBe("made")
    expect([await finished(), await unfinished()]).toMatchObject([{ length: 1 }, []])
  })

  test("is waited for until the wait is given up", async () => {
    const builder = await startBuilder()
    try {
      const enough = new AbortController()
      const waits = Promise.withResolvers<void>()
      const second = ensureArtifact(cache, recipe(write, "x"), () => waits.resolve(), enough.signal)
      await waits.promise
      enough.abort()
      await expect(second).rejects.toThrow(/abort/i)
      expect(await finished()).toEqual([])
    } finally {
      await builder.kill()
    }
  })
})
