import { execFileSync, spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { daemonOf, openDataDirectory, stopDaemon } from "../src/data-directory.ts"

const MODULE = new URL("../src/data-directory.ts", import.meta.url).href
const never = new AbortController().signal
let parent: string
let path: string

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "torpor-data-"))
  path = join(parent, "below/data")
})
afterEach(() => rm(parent, { recursive: true }))

const openIt = (given?: { accessKeyId: string; secretAccessKey: string }) => openDataDirectory(path, given, never)
const modeOf = async (name: string) => ((await stat(join(path, name))).mode & 0o777).toString(8)

/** A daemon's process that works on the directory until it is killed. */
const otherDaemon = async (): Promise<ChildProcess> => {
  const code = `
    import { openDataDirectory } from ${JSON.stringify(MODULE)}
    await openDataDirectory(${JSON.stringify(path)}, undefined, new AbortController().signal)
    process.stdout.write("open")
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "inherit"] })
  await once(child.stdout as NodeJS.EventEmitter, "data")
  return child
}

const kill = async (child: ChildProcess) => {
  child.kill("SIGKILL")
  await once(child, "exit")
}

test("A first start makes it for root alone, whatever the umask, also below parents that aren't there", async () => {
  const before = process.umask(0)
  try {
    await using data = await openIt()
    expect(await modeOf(".")).toBe("700")
    expect((await stat(join(parent, "below"))).mode & 0o777).toBe(0o700)
    for (const name of ["key", "credentials.json", "host-id"]) expect(await modeOf(name), name).toBe("600")
    expect(data.key).toHaveLength(32)
    expect(data.hostId).toMatch(/^[0-9a-f-]{36}$/)
    expect(data.credentials).toEqual(JSON.parse(await readFile(join(path, "credentials.json"), "utf8")))
    expect(data.credentials).toMatchObject({
      accessKeyId: expect.stringMatching(/^AKIA[0-9A-F]{16}$/),
      secretAccessKey: expect.stringMatching(/^[A-Za-z0-9+/]{40}$/),
      region: "us-east-1",
    })
  } finally {
    process.umask(before)
  }
})

test("The next start finds the same host, key and credentials", async () => {
  const first = await openIt()
  await first[Symbol.asyncDispose]()
  await using second = await openIt()
  expect(second.hostId).toBe(first.hostId)
  expect(second.key.equals(first.key)).toBe(true)
  expect(second.credentials).toEqual(first.credentials)
})

test("Two directories have nothing in common", async () => {
  await using first = await openIt()
  await using second = await openDataDirectory(join(parent, "other"), undefined, never)
  expect(second.hostId).not.toBe(first.hostId)
  expect(second.key.equals(first.key)).toBe(false)
  expect(second.credentials.secretAccessKey).not.toBe(first.credentials.secretAccessKey)
})

test("Credentials from the environment are used and not kept", async () => {
  const given = { accessKeyId: "AKIAGIVEN", secretAccessKey: "given" }
  await using data = await openIt(given)
  expect(data.credentials).toEqual({ ...given, region: "us-east-1" })
  expect(await readFile(join(path, "credentials.json"), "utf8")).not.toContain("given")
})

describe("Another daemon", () => {
  test("is refused while one works there, with that one's process", async () => {
    const other = await otherDaemon()
    try {
      await expect(openIt()).rejects.toMatchObject({
        name: "OperatorError",
        message: `Another daemon (process ${other.pid}) works on ${path}: stop it, or name another directory by TORPOR_DATA_DIR.`,
      })
      expect(await daemonOf(path, never)).toBe(other.pid)
    } finally {
      await kill(other)
    }
  })

  test("takes over what a killed one leaves, whose pid means nothing any more", async () => {
    const other = await otherDaemon()
    await kill(other)
    expect(await readFile(join(path, "daemon.pid"), "utf8")).toBe(`${other.pid}\n`)
    expect(await daemonOf(path, never)).toBeUndefined()
    await stopDaemon(path, "SIGTERM", () => expect.unreachable(), never)
    await using _ = await openIt()
    expect(await readFile(join(path, "daemon.pid"), "utf8")).toBe(`${process.pid}\n`)
  })

  test("is asked to stop by whoever wants the directory left, and waited for", async () => {
    const other = await otherDaemon()
    const asked: number[] = []
    expect(await stopDaemon(path, "SIGTERM", (pid) => asked.push(pid), never)).toBe(true)
    expect(asked).toEqual([other.pid])
    expect(await daemonOf(path, never)).toBeUndefined()
  })

  test("is waited for when it was killed and its lock is still held", async () => {
    const data = await openIt()
    const gone = spawn("true")
    await once(gone, "exit")
    await writeFile(join(path, "daemon.pid"), `${gone.pid}\n`)
    let left = false
    const waiting = stopDaemon(path, "SIGTERM", () => expect.unreachable(), never).then(() => (left = true))
    expect(await daemonOf(path, never)).toBe(gone.pid)
    expect(left).toBe(false)
    await data[Symbol.asyncDispose]()
    await waiting
  })

  test("is looked for without making anything", async () => {
    expect(await daemonOf(path, never)).toBeUndefined()
    await expect(stat(path)).rejects.toThrow("ENOENT")
  })
})

describe("A file that is not what we wrote is refused by its name, and changed by nobody", () => {
  test.each([
    ["key", "", "does not hold a key of 32 bytes: restore it from a backup"],
    ["key", "ab".repeat(31), "does not hold a key of 32 bytes"],
    ["key", `${"ab".repeat(32)}xx`, "does not hold a key of 32 bytes"],
    ["key", `${"ab".repeat(31)}zz`, "does not hold a key of 32 bytes"],
    ["host-id", "", "does not hold a uuid: restore it from a backup"],
    ["host-id", "../../../../etc", "does not hold a uuid"],
    ["credentials.json", "", "restore it, or delete it to get new credentials"],
    ["credentials.json", '{"accessKeyId":"AKIA012345', "restore it, or delete it to get new credentials"],
    ["credentials.json", "null", "restore it, or delete it"],
    ["credentials.json", '{"accessKeyId":"A","secretAccessKey":""}', "restore it, or delete it"],
  ])("%s with %j", async (name, content, words) => {
    await (await openIt())[Symbol.asyncDispose]()
    await writeFile(join(path, name), content)
    await expect(openIt()).rejects.toMatchObject({
      name: "OperatorError",
      message: expect.stringMatching(new RegExp(`^${join(path, name)} .*${words}`)),
    })
    expect(await readFile(join(path, name), "utf8")).toBe(content)
    expect(await daemonOf(path, never), "the lock is given back").toBeUndefined()
  })

  test("a key that is gone is not made anew: what is stored was sealed under it", async () => {
    await (await openIt())[Symbol.asyncDispose]()
    await rm(join(path, "key"))
    await expect(openIt()).rejects.toThrow(/key is gone, .*restore it from a backup\.$/)
    expect(await readdir(path)).not.toContain("key")
  })

  test("credentials that were deleted are made anew", async () => {
    const first = await openIt()
    await first[Symbol.asyncDispose]()
    await rm(join(path, "credentials.json"))
    await using second = await openIt()
    expect(second.credentials.accessKeyId).not.toBe(first.credentials.accessKeyId)
  })
})

test("A first start that was killed between two files goes on where it was, over what it left half-written", async () => {
  await mkdir(path, { recursive: true })
  await writeFile(join(path, "key"), "ab".repeat(32))
  await writeFile(join(path, "host-id.new"), "0123", { mode: 0o644 })
  await using data = await openIt()
  expect(data.key.toString("hex")).toBe("ab".repeat(32))
  expect(data.hostId).toMatch(/^[0-9a-f-]{36}$/)
  expect(await modeOf("host-id")).toBe("600")
  expect(await readdir(path)).not.toContain("host-id.new")
})

test("A place that is no directory is refused in one sentence", async () => {
  await writeFile(join(parent, "below"), "")
  await expect(openIt()).rejects.toMatchObject({
    name: "OperatorError",
    message: expect.stringMatching(new RegExp(`^${path} cannot be the data directory: `)),
  })
})

test("A place where none can be made is refused, and not tried for ever", async () => {
  for (const place of ["/proc/nope", "/proc/nope/below"])
    await expect(openDataDirectory(place, undefined, never)).rejects.toMatchObject({
      name: "OperatorError",
      message: `${place} cannot be the data directory: ENOENT: no such file or directory, mkdir '/proc/nope'`,
    })
})

test.each([
  ["full", "size=4k", "cannot be the data directory: ENOSPC"],
  ["read-only", "ro", "read-only file system"],
])("A place that is %s is refused in one sentence", async (_what, options, sentence) => {
  await mkdir(path, { recursive: true })
  execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", path])
  try {
    if (options !== "ro") await writeFile(join(path, "all"), Buffer.alloc(4096))
    await expect(openIt()).rejects.toMatchObject({
      name: "OperatorError",
      message: expect.stringContaining(sentence),
    })
  } finally {
    execFileSync("umount", [path])
  }
})

test("An owner's wider modes are the owner's business, and the secrets in it are for root all the same", async () => {
  await mkdir(path, { recursive: true })
  await chmod(path, 0o755)
  await using _ = await openIt()
  expect(await modeOf(".")).toBe("755")
  for (const name of ["key", "credentials.json"]) expect(await modeOf(name), name).toBe("600")
})
