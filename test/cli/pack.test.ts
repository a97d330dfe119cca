import { execFileSync } from "node:child_process"
import { mkdir, mkdtemp, rm, symlink, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { readArchive } from "../../images/archive.ts"
import { packDirectory, type PackOptions } from "../../src/cli/images/pack.ts"

const signal = new AbortController().signal
let scratch: string
beforeEach(async () => void (scratch = await mkdtemp(join(tmpdir(), "torpor-pack-"))))
afterEach(() => rm(scratch, { recursive: true }))

const write = async (files: Record<string, string>) => {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(scratch, "context", path)), { recursive: true })
    await writeFile(join(scratch, "context", path), text)
  }
}
const archive = () => join(scratch, "archive.zip")
const pack = (options: Partial<PackOptions> = {}) =>
  packDirectory(
    { directory: join(scratch, "context"), dockerfile: undefined, settings: { arguments: {} }, ...options },
    archive(),
    signal,
  )
const listed = () => execFileSync("bsdtar", ["-tf", archive()], { encoding: "utf8" }).trimEnd().split("\n").toSorted()

describe("A directory that is packed", () => {
  test("is there whole, with modes, times, empty folders and links as they are", async () => {
    await write({ Dockerfile: "FROM scratch\n", "bin/run": "#!/bin/sh\n" })
    const context = join(scratch, "context")
    execFileSync("chmod", ["755", join(context, "bin/run")])
    await utimes(join(context, "bin/run"), 1_700_000_000, 1_700_000_000)
    await mkdir(join(context, "empty"))
    await symlink("../elsewhere", join(context, "link"))
    execFileSync("mkfifo", [join(context, "pipe")])
    expect((await pack()).files).toBe(3)
    expect(listed()).toEqual(["Dockerfile", "bin/", "bin/run", "empty/", "link"])
    const again = join(scratch, "again")
    await mkdir(again)
    execFileSync("bsdtar", ["-xf", archive(), "-C", again])
    const stat = (path: string, format: string) =>
      execFileSync("stat", ["-c", format, join(again, path)], { encoding: "utf8" }).trim()
    expect([stat("bin/run", "%a %Y"), stat("link", "%F"), stat("empty", "%F")]).toEqual([
      "755 1700000000",
      "symbolic link",
      "directory",
    ])
  })

  test("is without what .dockerignore leaves out, and has what the build needs all the same", async () => {
    await write({ Dockerfile: "FROM scratch\n", ".dockerignore": "*\n!a\na/left", "a/b": "", "a/left": "", c: "" })
    await pack()
    expect(listed()).toEqual([".dockerignore", "Dockerfile", "a/", "a/b"])
    const { context } = await readArchive(archive())
    expect(context.find("*").paths).toEqual(["a"])
  })

  test("has the Dockerfile that is named, from anywhere, with the .dockerignore that is its own", async () => {
    await write({ Dockerfile: "FROM one\n", ".dockerignore": "a", a: "", b: "" })
    const dockerfile = join(scratch, "other.Dockerfile")
    await writeFile(dockerfile, "FROM other\n")
    await pack({ dockerfile })
    expect((await readArchive(archive())).dockerfile).toBe("FROM other\n")
    expect(listed()).toEqual([".dockerignore", "Dockerfile", "b"])
    await writeFile(`${dockerfile}.dockerignore`, "b")
    await pack({ dockerfile })
    expect(listed()).toEqual([".dockerignore", "Dockerfile", "Dockerfile.dockerignore", "a"])
  })

  test("says what the build is told besides, over what it says itself", async () => {
    await write({ Dockerfile: "FROM scratch\n" })
    await pack()
    expect(listed()).toEqual(["Dockerfile"])
    await write({ "torpor-build.json": JSON.stringify({ arguments: { A: "own", B: "own" }, target: "own" }) })
    await pack({ settings: { arguments: { B: "given" } } })
    expect((await readArchive(archive())).settings).toEqual({ arguments: { A: "own", B: "given" }, target: "own" })
  })

  test.each<[string, Record<string, string>, Partial<PackOptions>, RegExp]>([
    ["no Dockerfile", { a: "" }, {}, /^There is no Dockerfile in .*: name it with --file/],
    [
      "no such Dockerfile",
      { a: "" },
      { dockerfile: "/nowhere/Dockerfile" },
      /^There is no file \/nowhere\/Dockerfile\.$/,
    ],
    ["no directory", { a: "" }, { directory: "/nowhere" }, /^\/nowhere is no directory/],
    ["a malformed .dockerignore", { Dockerfile: "", ".dockerignore": "[" }, {}, /\.dockerignore has .* in line 1$/],
    ["malformed settings", { Dockerfile: "", "torpor-build.json": "{" }, {}, /torpor-build\.json is refused/],
  ])("with %s is refused in a sentence", async (_, files, options, sentence) => {
    await write(files)
    await expect(pack(options)).rejects.toMatchObject({
      name: "OperatorError",
      message: expect.stringMatching(sentence) as string,
    })
  })
})
