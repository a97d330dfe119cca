import { execFileSync } from "node:child_process"
import { lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs"
import { chmod, chown, link, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { applyLayer, listLayer, refuseDevices } from "../../images/agent/layer.ts"

const SET_ATTRIBUTE = `import os, sys; os.setxattr(sys.argv[1], "user.note", b"kept")`
const GET_ATTRIBUTE = `import os, sys; print(os.getxattr(sys.argv[1], "user.note").decode(), end="")`

/** A directory of this machine plays the image's root; beside it lies what no layer may reach. */
let outside: string
let image: string
let layers = 0
beforeEach(async () => {
  outside = await mkdtemp(join(tmpdir(), "torpor-layers-"))
  image = join(outside, "image")
  await mkdir(image)
  await writeFile(join(outside, "secret"), "the secret")
})
afterEach(() => rm(outside, { recursive: true, force: true }))

/** Makes a layer of a tree and puts it on the image. */
const apply = async (make: (tree: string) => Promise<void>, compression = "gzip") => {
  const tree = join(outside, `tree-${layers++}`)
  await mkdir(tree)
  await make(tree)
  return applyArchive(tree, compression)
}
const applyArchive = async (tree: string, compression = "gzip", options: string[] = []) => {
  const archive = `${tree}.tar`
  execFileSync("bsdtar", ["-c", `--${compression}`, "-f", archive, ...options, "-C", tree, "."])
  const isFirst = readdirSync(image).length === 0
  await applyLayer(archive, isFirst, image)
}
const put = async (tree: string, files: Record<string, string>) => {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(tree, path)), { recursive: true })
    await writeFile(join(tree, path), content)
  }
}
const read = (path: string) => readFileSync(join(image, path), "utf8")

describe("A layer", () => {
  test.for(["gzip", "zstd", "xz"])(
    "brings its files with owners, modes, times, links and attributes (%s)",
    async (compression) => {
      await apply(async (tree) => {
        await put(tree, { "usr/bin/tool": "tool", "etc/with blank é\n": "odd", "home/of/one": "1" })
        await chmod(join(tree, "usr/bin/tool"), 0o4755)
        await chown(join(tree, "home/of/one"), 1500, 2000)
        await chmod(join(tree, "home/of"), 0o1770)
        await link(join(tree, "usr/bin/tool"), join(tree, "usr/bin/same"))
        await symlink("usr/bin", join(tree, "bin"))
        execFileSync("touch", ["-d", "2001-02-03T04:05:06Z", join(tree, "home/of/one")])
        execFileSync("python3", ["-c", SET_ATTRIBUTE, join(tree, "home/of/one")])
      }, compression)
      expect(statSync(join(image, "usr/bin/tool"))).toMatchObject({ mode: 0o104755, nlink: 2 })
      expect(read("bin/same")).toBe("tool")
      expect(read("etc/with blank é\n")).toBe("odd")
      expect(statSync(join(image, "home/of")).mode & 0o7777).toBe(0o1770)
      expect(statSync(join(image, "home/of/one"))).toMatchObject({ uid: 1500, gid: 2000 })
      expect(statSync(join(image, "home/of/one")).mtime.toISOString()).toBe("2001-02-03T04:05:06.000Z")
      expect(execFileSync("python3", ["-c", GET_ATTRIBUTE, join(image, "home/of/one")], { encoding: "utf8" })).toBe(
        "kept",
      )
    },
  )

  test("deletes what it says is gone, and nothing that it brings itself", async () => {
    await apply((tree) => put(tree, { "a/one": "1", "a/two": "2", "b/deep/x": "x", "b/y": "y", "c/z": "z" }))
    await apply(async (tree) => {
      await put(tree, { "a/.wh.one": "", "b/.wh..wh..opq": "", "b/new": "new", ".wh.c": "", "d/.wh.never": "" })
      await put(tree, { "d/.wh..wh.plnk": "" })
    })
    expect(readdirSync(join(image, "a"))).toEqual(["two"])
    expect(readdirSync(join(image, "b"))).toEqual(["new"])
    expect(readdirSync(image).toSorted()).toEqual(["a", "b", "d"])
    expect(readdirSync(join(image, "d"))).toEqual([])
  })

  test("replaces files by directories, directories by files, and links by either", async () => {
    await apply(async (tree) => {
      await put(tree, { file: "f", "directory/in": "d", "target/kept": "k" })
      await symlink("target", join(tree, "link"))
      await symlink("target/kept", join(tree, "toFile"))
    })
    await apply(async (tree) => {
      await put(tree, { "file/in": "now a directory", directory: "now a file", "link/in": "now a directory" })
      await put(tree, { toFile: "now a file" })
    })
    expect(read("file/in")).toBe("now a directory")
    expect(read("directory")).toBe("now a file")
    expect(lstatSync(join(image, "link")).isDirectory()).toBe(true)
    expect(read("toFile")).toBe("now a file")
    expect(read("target/kept")).toBe("k")
  })

  test("adds to what is behind a link of a layer below, as seen from inside the image", async () => {
    await apply(async (tree) => {
      await mkdir(join(tree, "usr/lib"), { recursive: true })
      await symlink("/usr/lib", join(tree, "lib"))
    })
    const tree = join(outside, "by-link")
    await put(tree, { "lib/so": "so" })
    execFileSync("bsdtar", ["-c", "-f", `${tree}.tar`, "-C", tree, "lib/so"])
    await applyLayer(`${tree}.tar`, false, image)
    expect(read("usr/lib/so")).toBe("so")
    expect(readlinkSync(join(image, "lib"))).toBe("/usr/lib")
  })

  test("of twenty thousand small files is there whole", async () => {
    await apply(async (tree) => {
      for (let folder = 0; folder < 200; folder++) {
        await mkdir(join(tree, String(folder)))
        await Promise.all(
          Array.from({ length: 100 }, (_, file) =>
            writeFile(join(tree, String(folder), String(file)), `${folder}/${file}`),
          ),
        )
      }
    })
    expect(readdirSync(image)).toHaveLength(200)
    expect(read("199/99")).toBe("199/99")
  })
})

describe("A layer that is hostile", () => {
  const python = (program: string, archive: string) => execFileSync("python3", ["-c", program, archive])
  /** An archive with entries as they are said: name, type (tarfile's), link target. */
  const archiveOf = (entries: [name: string, type: string, target: string][]) => {
    const archive = join(outside, `hostile-${layers++}.tar`)
    python(
      `import io, json, sys, tarfile
out = tarfile.open(sys.argv[1], "w")
for name, kind, target in json.loads(${JSON.stringify(JSON.stringify(entries))}):
    info = tarfile.TarInfo(name)
    info.type = getattr(tarfile, kind)
    info.linkname = target
    content = b"hostile" if kind == "REGTYPE" else b""
    info.size = len(content)
    out.addfile(info, io.BytesIO(content))
out.close()`,
      archive,
    )
    return archive
  }

  test.for<[what: string, entries: [string, string, string][]]>([
    [
      "an absolute link and a file behind it",
      [
        ["out", "SYMTYPE", "/.."],
        ["out/secret", "REGTYPE", ""],
      ],
    ],
    [
      "a link upwards and a file behind it",
      [
        ["out", "SYMTYPE", "../.."],
        ["out/secret", "REGTYPE", ""],
      ],
    ],
    ["an absolute name", [["/../secret", "REGTYPE", ""]]],
    [
      "a hard link to what is outside",
      [
        ["hard", "LNKTYPE", "../secret"],
        ["hard", "REGTYPE", ""],
      ],
    ],
    ["a whiteout above the root", [["../.wh.secret", "REGTYPE", ""]]],
    [
      "a whiteout behind a link",
      [
        ["out", "SYMTYPE", "../"],
        ["out/.wh.secret", "REGTYPE", ""],
      ],
    ],
    ["a whiteout of the directory above", [[".wh...", "REGTYPE", ""]]],
  ])("reaches nothing outside of the image: %s", async ([, entries]) => {
    for (const isFirst of [true, false]) await applyLayer(archiveOf(entries), isFirst, image).catch(() => {})
    expect(readFileSync(join(outside, "secret"), "utf8")).toBe("the secret")
    expect(statSync(join(outside, "secret")).nlink).toBe(1)
  })

  test.for(["CHRTYPE", "BLKTYPE"])("is refused when it holds a device (%s)", async (type) => {
    await applyLayer(archiveOf([["dev/plain", "REGTYPE", ""]]), true, image)
    await refuseDevices(image)
    await applyLayer(archiveOf([["dev/sda", type, ""]]), false, image)
    await expect(refuseDevices(image)).rejects.toThrow("The image holds a device: /dev/sda")
  })

  test("is refused when it is no archive, or ends early", async () => {
    const file = join(outside, "no-archive")
    await writeFile(file, "not a tar at all".repeat(100))
    await expect(applyLayer(file, true, image)).rejects.toThrow("Unrecognized archive format")
    await expect(applyLayer(file, false, image)).rejects.toThrow("cannot be read")
    const tree = join(outside, "short")
    await put(tree, { a: "a".repeat(100_000) })
    execFileSync("sh", ["-c", 'bsdtar -c -f - -C "$0" . | head -c 50000 > "$0.tar"', tree])
    await expect(applyLayer(`${tree}.tar`, true, image)).rejects.toThrow()
  })

  test("is given up by its reader without a process that stays", async () => {
    const tree = join(outside, "many")
    await put(tree, Object.fromEntries(Array.from({ length: 3000 }, (_, index) => [`${index}`, ""])))
    execFileSync("bsdtar", ["-c", "-f", `${tree}.tar`, "-C", tree, "."])
    for await (const { type } of listLayer(`${tree}.tar`)) {
      expect(type).toBe("dir")
      break
    }
  })
})
