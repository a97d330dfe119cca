import { execFileSync } from "node:child_process"
import { lstatSync, readFileSync } from "node:fs"
import { chmod, mkdir, mkdtemp, rename, rm, rmdir, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { OciMount } from "../../images/agent/mounts.ts"
import { makeStubs, removeStubs } from "../../images/agent/stubs.ts"

/** A directory of this machine plays the image; beside it lies what no path may reach. */
let outside: string
let image: string
beforeEach(async () => {
  outside = await mkdtemp(join(tmpdir(), "torpor-stubs-"))
  image = join(outside, "image")
  await mkdir(join(image, "etc"), { recursive: true })
  await mkdir(join(outside, "folder"))
  await writeFile(join(outside, "file"), "a secret")
})
afterEach(() => rm(outside, { recursive: true, force: true }))

const memory = (destination: string): OciMount => ({ destination, type: "tmpfs", source: "tmpfs", options: [] })
const file = (destination: string): OciMount => bind(destination, "file")
const folder = (destination: string): OciMount => bind(destination, "folder")
const bind = (destination: string, name: string): OciMount => ({
  destination,
  type: "bind",
  source: join(outside, name),
  options: ["bind"],
})
/** All that is below a directory: `d /path`, `f /path`, `l /path`. */
const tree = (root = image) =>
  execFileSync("find", [root, "-mindepth", "1", "-printf", "%y /%P\n"], { encoding: "utf8" })
    .split("\n")
    .filter((line) => line !== "")
    .toSorted()
const inImage = (path: string) => join(image, path)
/** A step with these mounts: what it has seen of the image, and what is left of it. */
const step = async (mounts: readonly OciMount[], work: () => Promise<unknown> = () => Promise.resolve()) => {
  const stubs = await makeStubs(mounts, image)
  const during = tree()
  await work()
  await removeStubs(stubs, image)
  return { during, after: tree() }
}

describe("What a step's mounts stand on", () => {
  test("is made where it is missing, with what is above it, and is gone afterwards", async () => {
    const mounts = [memory("/a/b/memory"), folder("/a/b/folder"), file("/run/secrets/token"), file("/etc/hostname")]
    const { during, after } = await step(mounts)
    expect(during).toEqual([
      "d /a",
      "d /a/b",
      "d /a/b/folder",
      "d /a/b/memory",
      "d /etc",
      "d /run",
      "d /run/secrets",
      "f /etc/hostname",
      "f /run/secrets/token",
    ])
    expect(after).toEqual(["d /etc"])
  })

  test("is the image's own where that has something, empty or not, and stays", async () => {
    await mkdir(inImage("/empty/directory"), { recursive: true })
    await writeFile(inImage("/empty/file"), "")
    await writeFile(inImage("/full"), "full")
    const before = tree()
    const mounts = [folder("/empty/directory"), memory("/empty/directory/"), file("/empty/file"), file("/full")]
    expect(await step(mounts)).toEqual({ during: before, after: before })
  })

  test("is not made for what stands on another of them", async () => {
    const { during } = await step([memory("/dev"), file("/dev/pipes/script"), folder("/devices"), memory("/dev/shm")])
    expect(during).toEqual(["d /dev", "d /devices", "d /etc"])
  })

  test("is made once for two mounts at one path, and beneath one that comes later", async () => {
    const mounts = [memory("/cache"), folder("/cache"), file("/run/secrets/token"), memory("/run")]
    const { during, after } = await step(mounts)
    expect(during).toEqual(["d /cache", "d /etc", "d /run", "d /run/secrets", "f /run/secrets/token"])
    expect(after).toEqual(["d /etc"])
  })

  test("belongs to root, and all may pass", async () => {
    await makeStubs([file("/run/secrets/token")], image)
    const rights = (path: string) => {
      const { mode, uid, gid } = lstatSync(inImage(path))
      return [(mode & 0o7777).toString(8), uid, gid]
    }
    expect(rights("/run/secrets")).toEqual(["755", process.getuid?.(), process.getgid?.()])
    expect(rights("/run/secrets/token")).toEqual(["644", process.getuid?.(), process.getgid?.()])
  })

  test("is left to the runtime where something is in the way, and what was made until then goes", async () => {
    await writeFile(inImage("/etc/file"), "")
    await symlink("loop", inImage("/loop"))
    const mounts = [folder("/etc/file/below"), memory("/loop/x"), bind("/new", "nothing"), memory("/made")]
    const { during, after } = await step(mounts)
    expect(during).toEqual(["d /etc", "d /made", "f /etc/file", "l /loop"])
    expect(after).toEqual(["d /etc", "f /etc/file", "l /loop"])
  })
})

describe("After a step, what was made for its mounts", () => {
  const cache = [memory("/root/.cache/pip")]

  test("stays as far as the step has put something beside them", async () => {
    const { after } = await step(cache, () => writeFile(inImage("/root/.cache/other"), ""))
    expect(after).toEqual(["d /etc", "d /root", "d /root/.cache", "f /root/.cache/other"])
  })

  test("stays when the step has written into it", async () => {
    const { after } = await step([...cache, file("/token")], async () => {
      await writeFile(inImage("/root/.cache/pip/wheel"), "")
      await writeFile(inImage("/token"), "x")
    })
    expect(after).toContain("f /root/.cache/pip/wheel")
    expect(after).toContain("f /token")
  })

  test("goes also when the step has changed its rights", async () => {
    const { after } = await step(cache, () => chmod(inImage("/root"), 0o700))
    expect(after).toEqual(["d /etc"])
  })

  test("is told from what the step has put in its place, empty as that may be", async () => {
    const { after } = await step([...cache, file("/token")], async () => {
      // Made before what they replace has gone: the file system may not give its numbers to them.
      await mkdir(inImage("/others/.cache/pip"), { recursive: true })
      await writeFile(inImage("/others/token"), "")
      await rename(inImage("/root"), inImage("/ours"))
      await rename(inImage("/token"), inImage("/our-token"))
      await rename(inImage("/others/token"), inImage("/token"))
      await rename(inImage("/others"), inImage("/root"))
    })
    expect(after).toEqual(expect.arrayContaining(["d /root/.cache/pip", "f /token"]))
  })

  test("is nobody's care any more when the step has removed it", async () => {
    const { after } = await step(cache, async () => {
      await rmdir(inImage("/root/.cache/pip"))
      await rmdir(inImage("/root/.cache"))
      await writeFile(inImage("/root/.cache"), "a file")
    })
    expect(after).toEqual(["d /etc", "d /root", "f /root/.cache"])
  })
})

describe("No link leads out of the image", () => {
  test("when stubs are made: links are followed inside of it, and what is made there goes", async () => {
    await symlink(outside, inImage("/absolute"))
    await symlink("../../../../../..", inImage("/up"))
    await symlink("../run/systemd/resolv.conf", inImage("/etc/resolv.conf"))
    const before = tree(outside)
    const mounts = [
      folder("/absolute/x"),
      folder("/up/y"),
      file("/etc/resolv.conf"),
      folder("/../z"),
      folder("/q/../r"),
    ]
    const { during, after } = await step(mounts)
    const inner = outside.split("/").filter(Boolean)
    expect(during).toEqual(
      [
        ...inner.map((_, index) => `d /${inner.slice(0, index + 1).join("/")}`),
        `d ${outside}/x`,
        "d /etc",
        "d /r",
        "d /run",
        "d /run/systemd",
        "d /y",
        "d /z",
        "f /run/systemd/resolv.conf",
        "l /absolute",
        "l /etc/resolv.conf",
        "l /up",
      ].toSorted(),
    )
    expect(after).toEqual(["d /etc", "l /absolute", "l /etc/resolv.conf", "l /up"])
    expect(tree(outside)).toEqual(before)
  })

  test.for<[where: string, target: () => string]>([
    ["outside", () => join(outside, "twin")],
    ["upwards", () => "../twin"],
    ["inside", () => "/twin"],
  ])("when they are removed: a parent was replaced by a link %s", async ([, target]) => {
    for (const root of [outside, image]) {
      await mkdir(join(root, "twin/empty"), { recursive: true })
      await writeFile(join(root, "twin/file"), "")
    }
    const { after } = await step([folder("/d/empty"), file("/d/file")], async () => {
      await rename(inImage("/d"), inImage("/moved"))
      await symlink(target(), inImage("/d"))
    })
    expect(after).toEqual(expect.arrayContaining(["l /d", "d /twin/empty", "f /twin/file"]))
    expect(tree(join(outside, "twin"))).toEqual(["d /empty", "f /file"])
  })

  test("when they are removed: they themselves were replaced by links to the like", async () => {
    await mkdir(inImage("/victim"))
    const { after } = await step([folder("/d"), file("/f")], async () => {
      await rename(inImage("/d"), inImage("/d-moved"))
      await rename(inImage("/f"), inImage("/f-moved"))
      await symlink("/victim", inImage("/d"))
      await symlink(join(outside, "file"), inImage("/f"))
    })
    expect(after).toEqual(expect.arrayContaining(["d /victim", "l /d", "l /f"]))
    expect(readFileSync(join(outside, "file"), "utf8")).toBe("a secret")
  })
})
