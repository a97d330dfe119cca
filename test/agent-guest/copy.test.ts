import { execFileSync } from "node:child_process"
import { lstatSync, readFileSync, readlinkSync, statSync } from "node:fs"
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { copyIntoImage } from "../../images/agent/copy.ts"
import type { CopySpec } from "../../src/agent/protocol.ts"

/** Directories of this machine play what is copied from and the image; beside them lies what no path may reach. */
let outside: string
let from: string
let image: string
beforeEach(async () => {
  outside = await mkdtemp(join(tmpdir(), "torpor-copy-"))
  ;[from, image] = [join(outside, "from"), join(outside, "image")]
  for (const directory of [from, join(image, "etc")]) await mkdir(directory, { recursive: true })
  await writeFile(join(image, "etc/passwd"), "worker:x:1500:2000::/home/worker:/bin/sh\n")
  await writeFile(join(image, "etc/group"), "staffers:x:2000:\n")
  await writeFile(join(outside, "secret"), "the secret")
})
afterEach(() => rm(outside, { recursive: true, force: true }))

const put = async (root: string, files: Record<string, string>) => {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), content)
  }
}
/** Copies as an instruction does that says no more than this; a source may say how many of its parts are dropped. */
const copy = (sources: (string | [string, number])[], destination: string, more: Partial<CopySpec> = {}) =>
  copyIntoImage(
    {
      from: { drive: 1, path: "" },
      where: "in the build context",
      sources: sources.map((source) =>
        typeof source === "string" ? { path: source, dropped: 0 } : { path: source[0], dropped: source[1] },
      ),
      hasGlobs: true,
      inline: [],
      destination,
      owner: null,
      mode: null,
      exclude: [],
      keepsParents: false,
      unpacks: false,
      replacesLinks: false,
      ...more,
    },
    from,
    image,
  )
const read = (path: string) => readFileSync(join(image, path), "utf8")
/** Everything but directories; links are not followed. */
const filesIn = (path: string) =>
  execFileSync("find", [".", "!", "-type", "d"], { cwd: join(image, path), encoding: "utf8" })
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.slice(2))
    .toSorted()

describe("What is copied", () => {
  test("is named by globs that are resolved where the files are, links to folders on the way followed", async () => {
    await put(from, {
      "src/a.py": "a",
      "src/b.py": "b",
      "src/c.txt": "c",
      "lib/one/x.so": "1",
      "lib/two/x.so": "2",
      "lib/two/y": "y",
    })
    await symlink("/src", join(from, "link"))
    await copy(["link/*.py", "lib/[t]*/?.so"], "/srv/")
    expect(filesIn("srv")).toEqual(["a.py", "b.py", "x.so"])
    expect(read("srv/x.so")).toBe("2")
  })

  test.for<[pattern: string, words: string]>([
    ["none", '"none" is not in the build context'],
    ["no*", 'nothing in the build context is named "no*"'],
    ["src/*/deeper", "nothing in the build context"],
    ["src/[", "syntax error in pattern"],
  ])("is missed in words that name it: %s", async ([pattern, words]) => {
    await put(from, { "src/a": "a" })
    await expect(copy([pattern], "/srv/")).rejects.toThrow(words)
  })

  test("leaves out what --exclude says, by the path from the root or from what was named, and takes back", async () => {
    await put(from, {
      "src/a.py": "",
      "src/a.log": "",
      "src/deep/b.log": "",
      "src/deep/keep.log": "",
      "src/tmp/x": "",
      "top.log": "",
    })
    await copy(["src", "top.log"], "/srv/", { exclude: ["**/*.log", "src/tmp", "!**/keep.log"] })
    expect(filesIn("srv")).toEqual(["a.py", "deep/keep.log"])
  })

  test("keeps the folders that it is in with --parents, up to the pivot", async () => {
    await put(from, { "a/b/one": "1", "a/b/c/two": "2", "x/y/z": "3" })
    await copy(["a/b/one", "x/y"], "/all/", { keepsParents: true })
    await copy([["a/b/*", 1]], "/pivot/", { keepsParents: true })
    expect(filesIn("all")).toEqual(["a/b/one", "x/y/z"])
    expect(filesIn("pivot")).toEqual(["b/c/two", "b/one"])
  })

  test.for<[mode: string, file: number, directory: number]>([
    ["0640", 0o640, 0o640],
    ["u=rwX,go=rX", 0o644, 0o755],
    ["a+x", 0o755, 0o751],
    ["go-r,u+s", 0o4600, 0o4710],
    ["+t", 0o1644, 0o1750],
  ])("has the mode that --chmod %s makes of its own", async ([mode, file, directory]) => {
    await put(from, { "d/f": "f" })
    await chmod(join(from, "d/f"), 0o644)
    await mkdir(join(from, "d/sub"))
    await chmod(join(from, "d/sub"), 0o750)
    await copy(["d"], "/m/", { mode, owner: "worker:staffers" })
    expect(statSync(join(image, "m/f"))).toMatchObject({ mode: 0o100000 | file, uid: 1500, gid: 2000 })
    expect(statSync(join(image, "m/sub")).mode & 0o7777).toBe(directory)
  })

  test("stays a link where it is one, and no link leads out of the image or of what is copied from", async () => {
    await put(from, { real: "real" })
    await mkdir(join(from, "links"))
    await symlink("../../secret", join(from, "links/out"))
    await symlink("/..", join(image, "up"))
    await copy(["links"], "/up/")
    expect(readlinkSync(join(image, "out"))).toBe("../../secret")
    // What is named is followed, where it is from.
    await expect(copy(["links/out"], "/got")).rejects.toThrow("is not in the build context")
    await copy(["real"], "/up/secret")
    expect(read("secret")).toBe("real")
    expect(readFileSync(join(outside, "secret"), "utf8")).toBe("the secret")
    await symlink("/../..", join(from, "above"))
    await expect(copy(["above/secret"], "/got")).rejects.toThrow("is not in the build context")
  })
})

describe("COPY --link", () => {
  test("replaces a link on the way by a directory, where a COPY follows it", async () => {
    await put(from, { file: "f" })
    await put(image, { "real/kept": "kept" })
    await symlink("real", join(image, "link"))
    await copy(["file"], "/link/")
    expect(read("real/file")).toBe("f")
    await copy(["file"], "/link/linked", { replacesLinks: true })
    expect(filesIn("link")).toEqual(["linked"])
    expect(filesIn("real")).toEqual(["file", "kept"])
  })
})

describe("ADD", () => {
  const archive = (name: string, options: string[]) =>
    execFileSync("bsdtar", ["-c", "-f", join(from, name), ...options, "-C", join(from, "tree"), "."])

  test.for(["--no-options", "--gzip", "--bzip2", "--xz", "--zstd"])("unpacks a tar, with %s", async (compression) => {
    await put(from, { "tree/bin/tool": "tool" })
    await chmod(join(from, "tree/bin/tool"), 0o755)
    await symlink("/bin", join(from, "tree/absolute"))
    archive("some.tar", compression === "--no-options" ? [] : [compression])
    await copy(["some.tar"], "/opt/made", { unpacks: true })
    expect(filesIn("opt")).toEqual(["made/absolute", "made/bin/tool"])
    expect(statSync(join(image, "opt/made/bin/tool")).mode & 0o777).toBe(0o755)
    await copy(["some.tar"], "/owned/", { unpacks: true, owner: "worker" })
    expect(statSync(join(image, "owned/bin/tool")).uid).toBe(1500)
  })

  test("copies what is no tar as it is: text, a zip, something compressed", async () => {
    await put(from, { "tree/x": "x", text: "text" })
    archive("some.zip", ["--format=zip"])
    execFileSync("sh", ["-c", "echo words | gzip > words.gz; : > empty"], { cwd: from })
    await copy(["some.zip", "words.gz", "text", "empty"], "/kept/", { unpacks: true })
    expect(filesIn("kept")).toEqual(["empty", "some.zip", "text", "words.gz"])
  })

  test("of an archive that writes behind its own links stays in its directory", async () => {
    const program = `import io, sys, tarfile
out = tarfile.open(sys.argv[1], "w")
link = tarfile.TarInfo("out"); link.type = tarfile.SYMTYPE; link.linkname = "/../../.."
out.addfile(link)
file = tarfile.TarInfo("out/secret"); file.size = 7
out.addfile(file, io.BytesIO(b"hostile"))
out.close()`
    execFileSync("python3", ["-c", program, join(from, "hostile.tar")])
    await copy(["hostile.tar"], "/opt/", { unpacks: true }).catch(() => {})
    expect(readFileSync(join(outside, "secret"), "utf8")).toBe("the secret")
    expect(lstatSync(join(image, "etc/passwd")).size).toBeGreaterThan(10)
  })
})
