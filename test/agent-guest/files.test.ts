import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { buffer, text } from "node:stream/consumers"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { createFileRoutes } from "../../images/agent/file-routes.ts"
import { createRouteServer } from "../../images/agent/route-server.ts"
import { AgentError } from "../../src/agent/agent-error.ts"
import { createAgentClient, type AgentClient } from "../../src/agent/client.ts"

/** The agent's own routes over a directory of this machine, which plays the image: beside it lies what no path may reach. */
let outside: string
let image: string
let agent: AgentClient
let stop: () => void
const { signal } = new AbortController()

beforeEach(async () => {
  outside = await mkdtemp(join(tmpdir(), "torpor-files-"))
  image = join(outside, "image")
  await mkdir(join(image, "etc"), { recursive: true })
  await writeFile(join(outside, "secret"), "the secret")
  await writeFile(join(image, "etc/passwd"), "worker:x:1500:2000::/home/worker:/bin/sh\n")
  await writeFile(join(image, "etc/group"), "staffers:x:2000:\nothers:x:2001:\n")
  const server = createRouteServer(createFileRoutes(image), () => true)
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  agent = createAgentClient("127.0.0.1", (server.address() as AddressInfo).port, Buffer.alloc(32))
  stop = () => {
    agent.close()
    server.close()
  }
})
afterEach(async () => {
  stop()
  await rm(outside, { recursive: true, force: true })
})

const put = (path: string, content: string, options = {}) =>
  agent.writeFile(path, chunks(content), { maxBytes: 1000, ...options }, signal)
async function* chunks(...all: (string | Buffer)[]) {
  for (const chunk of all) yield Buffer.from(chunk)
}
const get = async (path: string) => text((await agent.readFile(path, 1000, signal)).content)
const list = async (path: string) =>
  (await agent.listDirectory(path, { limit: 1000 }, signal)).entries.map(({ name, type }) => `${name} ${type}`)
const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => "done",
    (error: unknown) => (error instanceof AgentError ? (error.code ?? error.message) : String(error)),
  )

describe("A file of the image", () => {
  test("is written, read, listed and removed", async () => {
    await put("/etc/motd", "hello", { mode: 0o4750, owner: "worker:others" })
    expect(await get("/etc/motd")).toBe("hello")
    expect(await stat(join(image, "etc/motd"))).toMatchObject({ mode: 0o104750, uid: 1500, gid: 2001 })
    const { entries, next } = await agent.listDirectory("/etc", { limit: 10 }, signal)
    expect(next).toBeNull()
    expect(entries.map(({ name }) => name)).toEqual(["group", "motd", "passwd"])
    expect(entries[1]).toMatchObject({ type: "file", size: 5, mode: 0o4750, uid: 1500, gid: 2001 })
    expect(Math.abs((entries[1]?.modifiedAt ?? 0) - Date.now())).toBeLessThan(60_000)
    await agent.removeFile("/etc/motd", signal)
    expect(await codeOf(get("/etc/motd"))).toBe("ENOENT")
    expect(await codeOf(agent.removeFile("/etc/motd", signal))).toBe("ENOENT")
  })

  test("keeps its mode and owner when it is replaced, and is root's when it is new", async () => {
    await put("/file", "one", { mode: 0o700, owner: "7:8" })
    await put("/file", "two")
    expect(await stat(join(image, "file"))).toMatchObject({ mode: 0o100700, uid: 7, gid: 8 })
    await put("/new", "")
    expect(await stat(join(image, "new"))).toMatchObject({ mode: 0o100644, uid: 0, gid: 0, size: 0 })
    expect(await get("/new")).toBe("")
  })

  test("is written into directories that are made when that is asked for, and belong to its owner", async () => {
    expect(await codeOf(put("/srv/a/b/file", "x"))).toBe("ENOENT")
    expect(await readdir(image)).toEqual(["etc"])
    await Promise.all([1, 2, 3].map((n) => put(`/srv/a/b/file${n}`, "x", { makeParents: true, owner: "worker" })))
    expect(await list("/srv/a/b")).toEqual(["file1 file", "file2 file", "file3 file"])
    for (const directory of ["srv", "srv/a", "srv/a/b"])
      expect(await stat(join(image, directory))).toMatchObject({ mode: 0o40755, uid: 1500, gid: 2000 })
  })

  test.for([
    ["too large", () => put("/file", "x".repeat(1001)), "EFBIG"],
    ["an owner who isn't there", () => put("/file", "x", { owner: "nobody-here" }), /unable to find user nobody-here/],
    ["a directory", () => put("/etc", "x"), "EISDIR"],
    ["the root", () => put("/etc/..", "x"), "EISDIR"],
    ["below a file", () => put("/etc/passwd/x", "x", { makeParents: true }), "ENOTDIR"],
    ["a relative path", () => put("etc/x", "x"), "EINVAL"],
    ["a NUL", () => put("/etc/x\0y", "x"), "EINVAL"],
    ["a name that is too long", () => put(`/${"x".repeat(256)}`, "x"), "The name is too long"],
    ["a path that is too deep", () => put("/d".repeat(200), "x", { makeParents: true }), "ELOOP"],
  ] as const)("isn't written when it is refused: %s", async ([, work, code]) => {
    expect(await codeOf(work())).toMatch(code)
    expect(await list("/etc")).toEqual(["group file", "passwd file"])
  })

  test("stays as it was when its upload is cut off, refused, or its source fails", async () => {
    await put("/file", "as it was")
    const abort = new AbortController()
    async function* endless() {
      yield Buffer.from("begun")
      setImmediate(() => abort.abort())
      await once(abort.signal, "abort")
      yield Buffer.from("and more")
    }
    async function* failing() {
      yield Buffer.from("begun")
      throw new Error("the source failed")
    }
    const options = { maxBytes: 1000 }
    expect(await codeOf(agent.writeFile("/file", endless(), options, abort.signal))).toMatch("AbortError")
    expect(await codeOf(agent.writeFile("/file", failing(), options, signal))).toMatch("the source failed")
    expect(await codeOf(put("/file", "x".repeat(2000)))).toBe("EFBIG")
    expect(await get("/file")).toBe("as it was")
    // What was written of them goes when the agent has heard of it.
    await expect.poll(() => list("/")).toEqual(["etc directory", "file file"])
  })

  test("of many megabytes goes both ways in pieces", async () => {
    const piece = Buffer.alloc(1024 * 1024, "0123456789abcdef")
    const source = Array.from({ length: 32 }, () => piece)
    await agent.writeFile("/large", chunks(...source), { maxBytes: 32 * piece.length }, signal)
    const { size, content } = await agent.readFile("/large", Infinity, signal)
    expect(size).toBe(32 * piece.length)
    expect(Buffer.concat(source).equals(await buffer(content))).toBe(true)
    expect(await codeOf(agent.readFile("/large", size - 1, signal))).toBe("EFBIG")
  })

  test("that is sparse is refused by its size, and read as zeros", async () => {
    await using file = await open(join(image, "sparse"), "w")
    await file.truncate(2 ** 42)
    expect(await codeOf(agent.readFile("/sparse", 2 ** 30, signal))).toBe("EFBIG")
    await file.truncate(2 ** 22)
    const { content } = await agent.readFile("/sparse", 2 ** 30, signal)
    expect((await buffer(content)).equals(Buffer.alloc(2 ** 22))).toBe(true)
  })

  test("that grows while it is read is what it was, and one that shrinks is an error", async () => {
    // More than what is under way between the two.
    const bytes = 8 * 1024 * 1024
    await using file = await open(join(image, "log"), "w")
    await file.truncate(bytes)
    const first = await agent.readFile("/log", Infinity, signal)
    await file.truncate(2 * bytes)
    expect((await buffer(first.content)).length).toBe(bytes)
    const second = await agent.readFile("/log", Infinity, signal)
    await file.truncate(1)
    await expect(buffer(second.content)).rejects.toThrow("became shorter while it was read")
  })
})

describe("A path", () => {
  test.for([
    ["an absolute link", "/secret", "ENOENT"],
    ["a link upwards", "../../../../../../secret", "ENOENT"],
    ["a link to a link upwards", "up/../secret", "ENOENT"],
    ["a link to itself", "link", "ELOOP"],
    ["a link to this process", "/proc/self/root/etc/passwd", "ENOENT"],
  ] as const)("through a hostile link never leaves the image: %s", async ([, target, code]) => {
    await symlink("..", join(image, "up"))
    await symlink(target.startsWith("/s") ? join(outside, "secret") : target, join(image, "link"))
    expect(await codeOf(get("/link"))).toBe(code)
    expect(await codeOf(get("/../secret"))).toBe("ENOENT")
    expect(await codeOf(get("/up/up/../secret"))).toBe("ENOENT")
    const wrote = await codeOf(put("/link", "overwritten"))
    expect(["done", "ENOENT", "ELOOP"]).toContain(wrote)
    expect(await readFile(join(outside, "secret"), "utf8")).toBe("the secret")
    await agent.removeFile("/link", signal)
    expect(await list("/")).not.toContain("link link")
  })

  test("through a link to a directory outside reaches, writes and lists nothing of it", async () => {
    await symlink(outside, join(image, "out"))
    expect(await codeOf(get("/out/secret"))).toBe("ENOENT")
    expect(await codeOf(list("/out"))).toBe("ENOENT")
    expect(await codeOf(put("/out/secret", "x"))).toBe("ENOENT")
    expect(await codeOf(agent.removeFile("/out/secret", signal))).toBe("ENOENT")
    // The link's target, as the image has it.
    await put("/out/secret", "inside", { makeParents: true })
    expect(await get("/out/secret")).toBe("inside")
    expect(await readFile(join(image, outside, "secret"), "utf8")).toBe("inside")
    expect(await readFile(join(outside, "secret"), "utf8")).toBe("the secret")
  })

  test("follows links inside of the image, a file's own too, and they stay links", async () => {
    await symlink("/etc", join(image, "conf"))
    await symlink("passwd", join(image, "etc/users"))
    expect(await get("/conf/users")).toContain("worker:x:1500")
    await put("/conf/users", "nobody\n")
    expect(await readFile(join(image, "etc/passwd"), "utf8")).toBe("nobody\n")
    expect(await list("/conf")).toContain("users link")
    expect(await list("/conf/./../etc//")).toEqual(await list("/etc"))
  })

  test("whose parts are swapped for links all the while still never leaves the image", async () => {
    await mkdir(join(image, "a/b"), { recursive: true })
    await writeFile(join(image, "a/b/secret"), "inside")
    // It swaps the directory for a link that leads out, and back, as fast as it can.
    const swapper = spawn(
      process.execPath,
      [
        "-e",
        `const fs = require("node:fs"); process.chdir(${JSON.stringify(image)})
         for (;;) { fs.renameSync("a/b", "a/c"); fs.symlinkSync(${JSON.stringify(outside)}, "a/b"); fs.unlinkSync("a/b"); fs.renameSync("a/c", "a/b") }`,
      ],
      { stdio: "inherit" },
    )
    try {
      const seen = new Set<string>()
      // Until it was met both ways, however late it begins.
      const hasBoth = () => seen.has("inside") && seen.has("ENOENT")
      for (let tries = 0; tries < 500 || !hasBoth(); tries++) {
        const found = await get("/a/b/secret").catch((error: AgentError) => error.code ?? error.message)
        seen.add(found)
        await put("/a/b/secret", "inside").catch(() => {})
        if (tries % 10 === 0) await list("/a/b").catch(() => {})
      }
      seen.delete("inside")
      for (const other of seen) expect(other).toMatch(/^E/)
    } finally {
      swapper.kill("SIGKILL")
      await once(swapper, "exit")
    }
    expect(await readFile(join(outside, "secret"), "utf8")).toBe("the secret")
    expect((await readdir(outside)).toSorted()).toEqual(["image", "secret"])
  })
})

describe("What is no file", () => {
  beforeEach(() => {
    execFileSync("mknod", [join(image, "fifo"), "p"])
    execFileSync("mknod", [join(image, "device"), "c", "1", "5"])
    execFileSync("mknod", [join(image, "disk"), "b", "7", "200"])
  })

  test("is listed, refused without being opened, and removed", async () => {
    await symlink("nowhere", join(image, "link"))
    expect(await list("/")).toEqual(["device device", "disk device", "etc directory", "fifo fifo", "link link"])
    for (const path of ["/fifo", "/device", "/disk"]) {
      expect(await codeOf(get(path))).toBe("EINVAL")
      expect(await codeOf(put(path, "x"))).toBe("EINVAL")
      expect(await codeOf(list(path))).toBe("ENOTDIR")
      await agent.removeFile(path, signal)
    }
    expect(await codeOf(get("/etc"))).toBe("EISDIR")
    expect(await codeOf(agent.removeFile("/etc", signal))).toBe("ENOTEMPTY")
    expect(await codeOf(agent.removeFile("/", signal))).toBe("EINVAL")
    expect(await list("/")).toEqual(["etc directory", "link link"])
  })

  test("is no table of users either", async () => {
    await rm(join(image, "etc/passwd"))
    await symlink("/fifo", join(image, "etc/passwd"))
    expect(await codeOf(put("/file", "x", { owner: "worker" }))).toMatch("unable to find user worker")
    await put("/file", "x", { owner: "12:staffers" })
    expect(await stat(join(image, "file"))).toMatchObject({ uid: 12, gid: 2000 })
  })
})

describe("A directory", () => {
  test("of more entries than a page comes in pages, each once, in order", async () => {
    const names = Array.from({ length: 2500 }, (_, index) => `${(index * 7919) % 2500}`.padStart(4, "0"))
    await Promise.all(names.map((name) => writeFile(join(image, name), "")))
    await rm(join(image, "etc"), { recursive: true })
    const pages: string[][] = []
    let after: string | undefined
    do {
      const page = await agent.listDirectory("/", { limit: 1000, after }, signal)
      pages.push(page.entries.map(({ name }) => name))
      after = page.next ?? undefined
    } while (after !== undefined)
    expect(pages.map(({ length }) => length)).toEqual([1000, 1000, 500])
    expect(pages.flat()).toEqual(names.toSorted())
    const { entries } = await agent.listDirectory("/", { limit: 100_000 }, signal)
    expect(entries).toHaveLength(1000)
  })

  test("with names that are no text, or that JSON makes long, is listed to its end", async () => {
    const strange = [Buffer.from([0xff, 0xfe]), Buffer.from([0xff, 0xff]), Buffer.alloc(255, 1), Buffer.from("ü\n")]
    for (const name of strange) await writeFile(Buffer.concat([Buffer.from(`${image}/`), name]), "")
    const found: string[] = []
    let after: string | undefined
    do {
      const page = await agent.listDirectory("/", { limit: 1, after }, signal)
      found.push(...page.entries.map(({ name }) => name))
      after = page.next ?? undefined
    } while (after !== undefined)
    expect(found).toEqual(["\u0001".repeat(255), "etc", "ü\n", "\uFFFD\uFFFD", "\uFFFD\uFFFD"])
  })
})
