import { randomBytes } from "node:crypto"
import { readdir } from "node:fs/promises"
import { buffer } from "node:stream/consumers"
import { describe, expect, test } from "vitest"
import { ZipFile } from "yazl"
import { readArchive, type Archive } from "../../images/archive.ts"
import { zipOf } from "../../src/cli/sample.ts"
import { rawZip, temporaryFile, type RawEntry } from "./raw-zip.ts"

const DOCKERFILE = { name: "Dockerfile", content: "FROM torpor/debian:13\n" }
const read = async (bytes: Buffer): Promise<Archive> => {
  await using file = await temporaryFile(bytes)
  return await readArchive(file.path)
}

describe("An archive", () => {
  test("is its Dockerfile and a directory of what else is in it", async () => {
    const { dockerfile, context } = await read(
      await zipOf({ Dockerfile: "FROM é\n", "app/main.py": "1", "app/b/c": "2" }),
    )
    expect(dockerfile).toBe("FROM é\n")
    expect(context.find("app/*").paths).toEqual(["app/b", "app/main.py"])
    expect(context.hasLinks).toBe(false)
  })

  test("may name everything below ./, be stored instead of deflated, and be in any order", async () => {
    const { context } = await read(
      rawZip([
        { name: "./", mode: 0o040755 },
        { name: "./a/b", content: "x", method: 0 },
        { name: "./a/", mode: 0o040700 },
        { ...DOCKERFILE, name: "./Dockerfile" },
      ]),
    )
    expect(context.find("*").paths).toEqual(["Dockerfile", "a"])
  })

  test("may have names that differ in case alone, as Linux does, and be a 64-bit one", async () => {
    const both = await read(rawZip([DOCKERFILE, { name: "readme" }, { name: "README" }]))
    expect(both.context.find("*").paths).toEqual(["Dockerfile", "README", "readme"])
    const zip = new ZipFile()
    for (const [name, text] of Object.entries({ Dockerfile: "FROM é\n", a: "1" }))
      zip.addBuffer(Buffer.from(text), name, { forceZip64Format: true })
    zip.end({ forceZip64Format: true, comment: "" })
    const { dockerfile, context } = await read(await buffer(zip.outputStream))
    expect([dockerfile, context.find("*").paths]).toEqual(["FROM é\n", ["Dockerfile", "a"]])
  })

  test("may have 65,534 entries, and names that are not UTF-8 as DOS had them", async () => {
    const many = Array.from(
      { length: 65_533 },
      (_, index) => ({ name: `d${index % 100}/f${index}`, method: 0 }) as const,
    )
    const { context } = await read(rawZip([DOCKERFILE, ...many]))
    expect(context.find("d7/*").paths.length).toBe(656)
    const dos = await read(rawZip([DOCKERFILE, { name: Buffer.from([0x82]), flags: 0 }]))
    expect(dos.context.find("é").paths).toEqual(["é"])
  })

  test("may have links: where they lead is the guest's affair", async () => {
    const { context } = await read(rawZip([DOCKERFILE, { name: "l", content: "/etc/shadow", mode: 0o120777 }]))
    expect(context.hasLinks).toBe(true)
  })

  test("has beside its Dockerfile what `docker build` would be told on its command line, and that is no file of it", async () => {
    const files = { Dockerfile: "FROM é\n", a: "1" }
    expect((await read(await zipOf(files))).settings).toEqual({ arguments: {} })
    const told = { arguments: { VERSION: "1.2", EMPTY: "" }, target: "prod" }
    const { settings, excluded, context } = await read(
      await zipOf({ ...files, "torpor-build.json": JSON.stringify(told) }),
    )
    expect({ settings, excluded }).toEqual({ settings: told, excluded: ["torpor-build.json"] })
    expect(context.find("*").paths).toEqual(["Dockerfile", "a"])
    const halves = await read(
      await zipOf({ ...files, "torpor-build.json": String.raw`{"arguments":{"A":"\ud800"},"target":"\udfff"}` }),
    )
    expect(halves.settings).toEqual({ arguments: { A: "\ufffd" }, target: "\ufffd" })
  })

  test("is without what .dockerignore leaves out; a Dockerfile's own comes first", async () => {
    const files = {
      Dockerfile: "FROM é\n",
      ".dockerignore": "**/*.log\nDockerfile",
      "a/b.log": "1",
      "a/c": "2",
      "d.log": "3",
    }
    const { dockerfile, context, excluded } = await read(await zipOf(files))
    expect(dockerfile).toBe("FROM é\n")
    expect(excluded.toSorted()).toEqual(["Dockerfile", "a/b.log", "d.log"])
    expect([context.find("*").paths, context.find("a/*").paths]).toEqual([[".dockerignore", "a"], ["a/c"]])
    const unchanged = await read(await zipOf({ ...files, "d.log": "4", "a/e.log": "5" }))
    expect(unchanged.context.digest).toBe(context.digest)
    const own = await read(await zipOf({ ...files, "Dockerfile.dockerignore": "a" }))
    expect(own.excluded).toEqual(["a"])
  })

  test("tells a changed content or mode from an unchanged one", async () => {
    const digest = async (entry: Partial<RawEntry>) =>
      (await read(rawZip([DOCKERFILE, { name: "d/f", content: "one", ...entry }]))).context.find("d").digest
    const first = await digest({})
    expect(await digest({})).toBe(first)
    const others = await Promise.all([digest({ content: "two" }), digest({ mode: 0o100755 }), digest({ name: "d/g" })])
    expect(new Set([first, ...others]).size).toBe(4)
  })
})

describe("A hostile archive is refused", () => {
  test.for<[name: string, entries: RawEntry[], reason: RegExp]>([
    ["a name with ..", [{ name: "../x" }], /invalid relative path: \.\.\/x/],
    ["a name with .. inside", [{ name: "a/../../x" }], /invalid relative path/],
    ["an absolute name", [{ name: "/etc/passwd" }], /absolute path: \/etc\/passwd/],
    ["a drive letter", [{ name: "C:/x" }], /absolute path: C:\/x/],
    ["a drive letter without a slash", [{ name: "C:x" }], /absolute path: C:x/],
    ["a backslash", [{ name: "a\\..\\x" }], /invalid characters/],
    ["a NUL", [{ name: "a\0b" }], /not a plain relative path/],
    ["an empty part", [{ name: "a//b" }], /not a plain relative path/],
    ["a dot as a part", [{ name: "a/./b" }], /not a plain relative path/],
    ["an empty name", [{ name: "" }], /not a plain relative path/],
    ["a name that claims UTF-8 and is not", [{ name: Buffer.from([0x61, 0xff]) }], /not a plain relative path/],
    ["a part of 256 bytes", [{ name: "é".repeat(128) }], /too long/],
    ["a path of 4,096 bytes", [{ name: "a/".repeat(2048) + "b" }], /too long/],
    ["a name twice", [{ name: "a" }, { name: "a" }], /'a' is there twice/],
    ["a file that is a directory too", [{ name: "a" }, { name: "a/", mode: 0o040755 }], /'a' is there twice/],
    ["a file with something in it", [{ name: "a" }, { name: "a/b" }], /'a' is a file and has something in it/],
    ["a link with something in it", [{ name: "a/b" }, { name: "a", content: "/etc", mode: 0o120777 }], /'a' is a link/],
    ["a link named like a directory", [{ name: "a/", content: "/", mode: 0o120777 }], /named like a directory/],
    ["a device", [{ name: "a", mode: 0o020666 }], /neither a file nor a directory nor a link/],
    ["a FIFO", [{ name: "a", mode: 0o010666 }], /neither a file nor a directory nor a link/],
    [
      "build settings that are no JSON",
      [{ name: "torpor-build.json", content: "{" }],
      /torpor-build\.json is refused: .*JSON/,
    ],
    [
      "build settings of another kind",
      [{ name: "torpor-build.json", content: "[]" }],
      /torpor-build\.json is refused: .*object/,
    ],
    [
      "build settings that nobody knows",
      [{ name: "torpor-build.json", content: '{"args": {}}' }],
      /torpor-build\.json is refused: Unrecognized key: "args"/,
    ],
    [
      "a build argument that is no variable",
      [{ name: "torpor-build.json", content: '{"arguments": {"A B": ""}}' }],
      /torpor-build\.json is refused: arguments\.A B: /,
    ],
    [
      "a build argument that is a number",
      [{ name: "torpor-build.json", content: '{"arguments": {"A": 1}}' }],
      /torpor-build\.json is refused: arguments\.A: .*string/,
    ],
    ["an encrypted entry", [{ name: "a", content: "x", flags: 0x801 }], /'a' is encrypted/],
    ["an impossible ratio", [{ name: "a", content: "x", unpackedBytes: 1024 ** 3 }], /too large unpacked/],
    [
      "5 GiB in all",
      [0, 1, 2, 3, 4].map((n) => ({
        name: `f${n}`,
        content: randomBytes(1024 ** 2),
        unpackedBytes: 1024 ** 3,
      })),
      /too large unpacked/,
    ],
    [
      "entries that share their bytes",
      [
        { name: "a", content: randomBytes(1000) },
        ...[1, 2, 3].map((n) => ({ name: `b${n}`, content: "x", at: 0, packedBytes: 1000, unpackedBytes: 1000 })),
      ],
      /overlap/,
    ],
    [
      "folders without end",
      Array.from({ length: 600 }, (_, n) => ({ name: `${"a/".repeat(2000)}${n}` })),
      /nested too deep/,
    ],
    ["more bytes than there are", [{ name: "a", content: "abc", packedBytes: 10_000_000 }], /overlap|EOF|end of/],
  ])("with %s", async ([, entries, reason]) => {
    await expect(read(rawZip([DOCKERFILE, ...entries]))).rejects.toThrow(reason)
    await expect(read(rawZip([DOCKERFILE, ...entries]))).rejects.toMatchObject({ code: "ARCHIVE_INVALID" })
  })

  test.for<[name: string, bytes: () => Buffer]>([
    ["nothing in it", () => Buffer.alloc(0)],
    ["something else in it", () => randomBytes(5000)],
    ["its end cut off", () => rawZip([DOCKERFILE]).subarray(0, -10)],
    ["its beginning cut off", () => rawZip([DOCKERFILE, { name: "a", content: randomBytes(5000) }]).subarray(3000)],
  ])("with %s", async ([, bytes]) => {
    await expect(read(bytes())).rejects.toMatchObject({ code: "ARCHIVE_INVALID" })
  })

  test.for<[name: string, entry: Partial<RawEntry>, reason: RegExp]>([
    ["a wrong checksum", { crc: 1 }, /checksum of its Dockerfile is wrong/],
    ["a size that is too small", { unpackedBytes: 3 }, /too many bytes/],
    ["a size that is too large", { unpackedBytes: 300 }, /not enough bytes/],
    ["more than a MiB", { content: "#".repeat(1024 ** 2 + 1) }, /larger than 1048576 bytes/],
    ["a method nobody has", { method: 12 }, /unsupported compression method/],
    ["no deflate in it", { method: 8, content: "x", packedBytes: 2, unpackedBytes: 40 }, /zip archive/],
  ])("whose Dockerfile has %s", async ([, entry, reason]) => {
    await expect(read(rawZip([{ ...DOCKERFILE, ...entry }]))).rejects.toThrow(reason)
  })

  test.for<[name: string, entries: RawEntry[], reason: RegExp]>([
    ["there is none", [{ name: "README" }], /no Dockerfile at its root\.$/],
    ["it is in a folder", [{ name: "app/Dockerfile" }], /There is 'app\/Dockerfile': zip what is in the folder/],
    ["it is a link", [{ ...DOCKERFILE, mode: 0o120777 }], /no Dockerfile/],
    ["it is a directory", [{ name: "Dockerfile/x" }], /no Dockerfile/],
    ["its case differs", [{ name: "dockerfile" }], /no Dockerfile/],
  ])("for want of a Dockerfile when %s", async ([, entries, reason]) => {
    await expect(read(rawZip(entries))).rejects.toThrow(reason)
    await expect(read(rawZip(entries))).rejects.toMatchObject({ code: "ARCHIVE_DOCKERFILE_NOT_FOUND" })
  })

  test("and none of them leaves its file open", async () => {
    const open = () => readdir("/proc/self/fd").then((names) => names.length)
    const before = await open()
    for (let n = 0; n < 20; n++) await read(rawZip([{ ...DOCKERFILE, crc: 1 }])).catch(() => {})
    for (let n = 0; n < 20; n++) await read(Buffer.from("PK")).catch(() => {})
    expect(await open()).toBeLessThan(before + 10)
  })
})
