import { createHash, randomBytes } from "node:crypto"
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { openArtifactStore, type ArtifactStore } from "../../src/store/artifact-store.ts"

const account = "000000000000"
const bucket = "artifacts"
const never = new AbortController().signal
const limits = {
  maxObjectBytes: 1000,
  maxAccountBytes: 2500,
  maxAccountFiles: 8,
  maxBucketsPerAccount: 3,
  uploadMs: 3600_000,
}
const unchecked = () => ({ md5: undefined, checksum: undefined })
const target = {
  account,
  bucket,
  key: "parts",
  headers: {},
  algorithm: undefined,
  checksumType: "COMPOSITE" as const,
}
const check = { algorithm: undefined, expected: unchecked }
const whatever = { ifAbsent: false, whole: { bytes: undefined, checksum: undefined } }
const plain = { headers: {}, algorithm: undefined, expected: unchecked, ifAbsent: false }

async function* bodyOf(...pieces: (Uint8Array | Error)[]): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) {
    if (piece instanceof Error) throw piece
    yield piece
  }
}

describe("The artifact store", () => {
  let directory: string
  let store: ArtifactStore
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "torpor-store-"))
    store = await openArtifactStore(directory, limits)
    await store.createBucket(account, bucket)
  })
  afterEach(() => rm(directory, { recursive: true, force: true }))

  const put = (key: string, ...pieces: (Uint8Array | Error)[]) =>
    store.put(account, bucket, key, bodyOf(...pieces), plain, never)
  const read = async (key: string, from = store) => {
    const { file } = await from.open(account, bucket, key)
    await using opened = file
    return opened.readFile()
  }
  const blobs = () => readdir(join(directory, "accounts", account, bucket, "blobs"))
  const temporary = () => readdir(join(directory, "tmp"))

  it("finds everything again when it is opened anew", async () => {
    const body = randomBytes(700)
    const options = { ...plain, headers: { "content-type": "application/zip" }, algorithm: "SHA256" as const }
    const object = await store.put(account, bucket, "a/../b", bodyOf(body), options, never)
    const again = await openArtifactStore(directory, limits)
    expect(again.head(account, bucket, "a/../b")).toMatchObject(object)
    expect(object.checksum?.value).toBe(createHash("sha256").update(body).digest("base64"))
    expect((await read("a/../b", again)).equals(body)).toBe(true)
    expect(again.buckets(account).map(({ name }) => name)).toEqual([bucket])
  })

  it("forgets what a death left half-written, and keeps the object as it was", async () => {
    await put("kept", Buffer.from("as it was"))
    await writeFile(join(directory, "tmp", "half-an-upload"), "x")
    await writeFile(join(directory, "accounts", account, bucket, "blobs", "written-but-never-named"), "x")
    const again = await openArtifactStore(directory, limits)
    expect(await temporary()).toEqual([])
    expect(await blobs()).toHaveLength(1)
    expect((await read("kept", again)).toString()).toBe("as it was")
  })

  it("names the file that is damaged", async () => {
    await put("key", Buffer.from("x"))
    const objects = join(directory, "accounts", account, bucket, "objects")
    const [name = ""] = await readdir(objects)
    await writeFile(join(objects, name), "{")
    await expect(openArtifactStore(directory, limits)).rejects.toThrow(
      `The artifact store's file ${join(objects, name)} cannot be read`,
    )
  })

  it("leaves nothing of a body that breaks off", async () => {
    await put("kept", Buffer.from("as it was"))
    await expect(put("kept", Buffer.from("half"), new Error("gone"))).rejects.toThrow("gone")
    expect((await read("kept")).toString()).toBe("as it was")
    expect([await temporary(), (await blobs()).length]).toEqual([[], 1])
  })

  it("stops when it is told to", async () => {
    const stop = new AbortController()
    async function* body() {
      yield Buffer.from("one")
      stop.abort(new Error("enough"))
      yield Buffer.from("two")
    }
    await expect(store.put(account, bucket, "stopped", body(), plain, stop.signal)).rejects.toThrow("enough")
    expect(await temporary()).toEqual([])
  })

  it("takes an object of exactly the largest size, and none larger", async () => {
    await put("largest", Buffer.alloc(1000))
    expect(store.usage().get(account)).toEqual({ files: 1, bytes: 1000 })
    await expect(put("larger", Buffer.alloc(1000), Buffer.alloc(1))).rejects.toMatchObject({ code: "EntityTooLarge" })
    expect(await temporary()).toEqual([])
  })

  it("counts an account's bytes through writes, failures, replacements, deletions and a restart", async () => {
    const full = { code: "QuotaExceeded" }
    await put("a", Buffer.alloc(1000))
    await put("b", Buffer.alloc(1000))
    await expect(put("c", Buffer.alloc(501))).rejects.toMatchObject(full)
    await expect(put("c", Buffer.alloc(400), new Error("gone"))).rejects.toThrow("gone")
    await put("c", Buffer.alloc(500))
    await put("c", Buffer.alloc(0))
    await put("c", Buffer.alloc(500))
    await store.delete(account, bucket, "a")
    await put("d", Buffer.alloc(1000))
    store = await openArtifactStore(directory, limits)
    await expect(put("e", Buffer.alloc(1))).rejects.toMatchObject(full)
    await store.createBucket("111111111111", bucket)
    await store.put("111111111111", bucket, "e", bodyOf(Buffer.alloc(1000)), plain, never)
  })

  it("counts the parts of an upload, and gives them back when it ends", async () => {
    const start = async () => {
      const uploadId = store.startUpload(target)
      const part = await store.uploads.putPart(uploadId, 1, bodyOf(Buffer.alloc(1000)), check, never)
      await store.uploads.putPart(uploadId, 2, bodyOf(Buffer.alloc(1000)), check, never)
      return { uploadId, etag: part.md5.toString("hex") }
    }
    const aborted = await start()
    await expect(put("x", Buffer.alloc(501))).rejects.toMatchObject({ code: "QuotaExceeded" })
    await store.uploads.abort(aborted.uploadId)
    const { uploadId, etag } = await start()
    await store.completeUpload(target, uploadId, [{ number: 1, etag, checksum: undefined }], whatever, never)
    await put("x", Buffer.alloc(1000))
    await put("y", Buffer.alloc(500))
    await expect(put("z", Buffer.alloc(1))).rejects.toMatchObject({ code: "QuotaExceeded" })
    expect(await temporary()).toEqual([])
  })

  it("counts objects, uploads and their parts, however empty, through failures, replacements, ends and a restart", async () => {
    const full = { code: "QuotaExceeded", status: 403, message: expect.stringContaining("be 8 objects, ") as string }
    const putPart = (uploadId: string, number: number) =>
      store.uploads.putPart(uploadId, number, bodyOf(), check, never)
    const [kept, given] = [store.startUpload(target), store.startUpload(target)]
    const { md5 } = await putPart(kept, 1)
    for (const number of [2, 2, 3]) await putPart(kept, number)
    await putPart(given, 1)
    await putPart(given, 2)
    await put("a")
    await expect(put("b")).rejects.toMatchObject(full)
    expect(() => store.startUpload(target)).toThrow(expect.objectContaining(full))
    await store.uploads.abort(given)
    await expect(put("a", new Error("gone"))).rejects.toThrow("gone")
    for (const key of ["a", "b", "b", "c"]) await put(key)
    await putPart(kept, 4)
    await expect(putPart(kept, 5)).rejects.toMatchObject(full)
    const named = [{ number: 1, etag: md5.toString("hex"), checksum: undefined }]
    await store.completeUpload(target, kept, named, whatever, never)
    for (const key of ["d", "e", "f", "g"]) await put(key)
    await expect(put("h")).rejects.toMatchObject(full)
    await store.delete(account, bucket, "g")
    store = await openArtifactStore(directory, limits)
    await put("h")
    await expect(put("i")).rejects.toMatchObject(full)
  })

  it("ends an upload in parts that has been under way for too long, and gives back what it took", async () => {
    store = await openArtifactStore(directory, { ...limits, maxAccountFiles: 2, uploadMs: 50 })
    const uploadId = store.startUpload(target)
    // On a slow machine the upload may be over before its part is there.
    await store.uploads.putPart(uploadId, 1, bodyOf(Buffer.alloc(1000)), check, never).catch(() => {})
    await expect.poll(temporary).toEqual([])
    expect(() => store.uploads.find(uploadId, account, bucket, "parts")).toThrow(
      expect.objectContaining({ code: "NoSuchUpload" }),
    )
    await put("a", Buffer.alloc(1000))
    await put("b", Buffer.alloc(1000))
  })

  it("ends an upload in parts with the process, and says so", async () => {
    const uploadId = store.startUpload(target)
    const again = await openArtifactStore(directory, limits)
    expect(() => again.uploads.find(uploadId, account, bucket, "parts")).toThrow(
      expect.objectContaining({ code: "NoSuchUpload" }),
    )
  })

  it("gives a reader the object it opened, whatever becomes of the key", async () => {
    await put("read", Buffer.from("first"))
    const { object, file } = await store.open(account, bucket, "read")
    await using opened = file
    await put("read", Buffer.from("second!"))
    await store.delete(account, bucket, "read")
    expect((await opened.readFile()).toString()).toBe("first")
    expect(object.bytes).toBe(5)
    expect(await blobs()).toEqual([])
  })

  it("lets one of many writers make what must not be there yet", async () => {
    const writes = Array.from({ length: 8 }, (_, index) =>
      store.put(account, bucket, "once", bodyOf(Buffer.from(String(index))), { ...plain, ifAbsent: true }, never),
    )
    const settled = await Promise.allSettled(writes)
    expect(settled.filter(({ status }) => status === "fulfilled")).toHaveLength(1)
    expect([(await blobs()).length, await temporary()]).toEqual([1, []])
  })

  it("refuses an upload to a bucket that is removed meanwhile", async () => {
    await store.createBucket(account, "short-lived")
    const opened = Promise.withResolvers<void>()
    async function* body() {
      yield Buffer.from("one")
      await opened.promise
    }
    const writing = store.put(account, "short-lived", "key", body(), plain, never)
    await store.deleteBucket(account, "short-lived")
    opened.resolve()
    await expect(writing).rejects.toMatchObject({ code: "NoSuchBucket" })
    expect(await temporary()).toEqual([])
  })

  it("limits an account's buckets and what they and accounts may be called", async () => {
    await store.createBucket(account, "second")
    await store.createBucket(account, "third")
    await expect(store.createBucket(account, "fourth")).rejects.toMatchObject({ code: "TooManyBuckets" })
    await expect(store.createBucket("../escape", "bucket")).rejects.toMatchObject({ code: "InvalidBucketName" })
    await expect(store.createBucket("111111111111", "../../x")).rejects.toMatchObject({ code: "InvalidBucketName" })
    expect(await readdir(join(directory, "accounts"))).toEqual([account])
  })

  it("writes no key into a file's name", async () => {
    await put("../../../tmp/escaped", Buffer.from("x"))
    const [name = ""] = await readdir(join(directory, "accounts", account, bucket, "objects"))
    expect(name).toMatch(/^[0-9a-f]{64}\.json$/)
    const record: unknown = JSON.parse(
      await readFile(join(directory, "accounts", account, bucket, "objects", name), "utf8"),
    )
    expect(record).toMatchObject({ key: "../../../tmp/escaped", bytes: 1 })
  })
})
