import { createHash, createHmac, randomBytes } from "node:crypto"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { Readable } from "node:stream"
import type { ChecksumAlgorithm, S3 } from "@aws-sdk/client-s3"
import { Upload } from "@aws-sdk/lib-storage"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import {
  credentials,
  otherCredentials,
  refusalOf,
  region,
  sha256Hex,
  startApi,
  type ApiUnderTest,
} from "./api-under-test.ts"
import { signedSend } from "./signed-fetch.ts"

const Bucket = "artifacts"
const MiB = 1024 * 1024
const hostileKeys = [
  "../../etc/passwd",
  "/etc/passwd",
  "a//b",
  "./.",
  "nul\0byte",
  "x".repeat(1024),
  "ünïcödé/日本語/🐻.zip",
  "a b+c%2F&d=e?f#g'\"<>!*()",
  "__proto__",
  "back\\slash",
]

describe("The artifact store over S3", () => {
  let api: ApiUnderTest
  let s3: S3
  beforeAll(async () => {
    api = await startApi()
    s3 = api.s3()
    await s3.createBucket({ Bucket })
  })
  afterAll(() => api?.[Symbol.asyncDispose]())

  const bytesOf = async (Key: string, client = s3) => {
    const { Body } = await client.getObject({ Bucket, Key })
    return Buffer.from((await Body?.transformToByteArray()) ?? [])
  }
  const temporaryFiles = () => readdir(join(api.directory, "store", "tmp"))

  it("keeps what the SDK puts, with its type, metadata and checksum", async () => {
    const Body = randomBytes(100_000)
    const put = await s3.putObject({
      Bucket,
      Key: "app.zip",
      Body,
      ContentType: "application/zip",
      Metadata: { author: "ada" },
    })
    const ETag = `"${createHash("md5").update(Body).digest("hex")}"`
    expect(put.ETag).toBe(ETag)
    expect(put.ChecksumCRC32).toMatch(/^.{6}==$/)
    const head = await s3.headObject({ Bucket, Key: "app.zip", ChecksumMode: "ENABLED" })
    expect(head).toMatchObject({
      ETag,
      ContentLength: 100_000,
      ContentType: "application/zip",
      Metadata: { author: "ada" },
      ChecksumCRC32: put.ChecksumCRC32,
      ChecksumType: "FULL_OBJECT",
    })
    expect(head.LastModified).toBeInstanceOf(Date)
    expect((await bytesOf("app.zip")).equals(Body)).toBe(true)
    await s3.putObject({ Bucket, Key: "app.zip", Body: "another" })
    expect((await bytesOf("app.zip")).toString()).toBe("another")
    await s3.putObject({ Bucket, Key: "empty", Body: "" })
    expect(await bytesOf("empty")).toHaveLength(0)
  })

  it.each(["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"] satisfies ChecksumAlgorithm[])(
    "verifies %s, in a header and in a trailer",
    async (algorithm) => {
      const Body = randomBytes(200_001)
      const put = await s3.putObject({ Bucket, Key: algorithm, Body, ChecksumAlgorithm: algorithm })
      const streamed = await s3.putObject({
        Bucket,
        Key: algorithm,
        Body: Readable.from([Body.subarray(0, 70_000), Body.subarray(70_000)], { objectMode: false }),
        ContentLength: Body.length,
        ChecksumAlgorithm: algorithm,
      })
      const name = `Checksum${algorithm}` as const
      expect(put[name]).toBeTruthy()
      expect(streamed[name]).toBe(put[name])
      expect((await bytesOf(algorithm)).equals(Body)).toBe(true)

      const header = `x-amz-checksum-${algorithm.toLowerCase()}`
      const right = put[name] ?? ""
      const bad = Buffer.from(Buffer.from(right, "base64").map((byte) => byte ^ 1)).toString("base64")
      const refused = await signedSend(api.port, {
        method: "PUT",
        service: "s3",
        path: `/${Bucket}/bad`,
        body: Body,
        headers: { [header]: bad },
      })
      expect(refused.text).toContain("<Code>BadDigest</Code>")
      const chunked = `${Body.length.toString(16)}\r\n`
      const body = Buffer.concat([Buffer.from(chunked), Body, Buffer.from(`\r\n0\r\n${header}:${bad}\r\n\r\n`)])
      const trailer = await signedSend(api.port, {
        method: "PUT",
        service: "s3",
        path: `/${Bucket}/bad`,
        body,
        payloadHash: "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        headers: {
          "content-encoding": "aws-chunked",
          "x-amz-decoded-content-length": String(Body.length),
          "x-amz-trailer": header,
        },
      })
      expect(trailer.text).toContain("<Code>BadDigest</Code>")
      expect(await refusalOf(s3.headObject({ Bucket, Key: "bad" }))).toMatchObject({ status: 404, name: "NotFound" })
    },
  )

  it("takes 64 MiB in parts from lib-storage, and gives ranges back", async () => {
    const piece = randomBytes(MiB)
    const hash = createHash("sha256")
    const body = Readable.from(
      (function* () {
        for (let count = 0; count < 64; count++) {
          hash.update(piece)
          yield piece
        }
      })(),
      { objectMode: false },
    )
    const uploaded = await new Upload({
      client: s3,
      params: { Bucket, Key: "large", Body: body },
      partSize: 5 * MiB,
    }).done()
    expect(uploaded.ETag).toMatch(/^"[0-9a-f]{32}-13"$/)
    const { Body, ContentLength } = await s3.getObject({ Bucket, Key: "large" })
    expect(ContentLength).toBe(64 * MiB)
    const read = createHash("sha256")
    for await (const chunk of Body as Readable) read.update(chunk as Buffer)
    expect(read.digest("hex")).toBe(hash.digest("hex"))
    expect(await temporaryFiles()).toEqual([])

    const range = async (Range: string) => {
      const got = await s3.getObject({ Bucket, Key: "large", Range })
      return { range: got.ContentRange, bytes: Buffer.from((await got.Body?.transformToByteArray()) ?? []) }
    }
    const total = 64 * MiB
    expect(await range("bytes=10-19")).toEqual({ range: `bytes 10-19/${total}`, bytes: piece.subarray(10, 20) })
    expect(await range(`bytes=${MiB - 1}-${MiB}`)).toMatchObject({
      bytes: Buffer.from([piece[MiB - 1] ?? 0, piece[0] ?? 0]),
    })
    expect(await range("bytes=-3")).toEqual({
      range: `bytes ${total - 3}-${total - 1}/${total}`,
      bytes: piece.subarray(MiB - 3),
    })
    expect((await range(`bytes=${total - 2}-`)).bytes).toEqual(piece.subarray(MiB - 2))
    expect(await refusalOf(s3.getObject({ Bucket, Key: "large", Range: `bytes=${total}-` }))).toMatchObject({
      name: "InvalidRange",
      status: 416,
    })
  })

  it.each(["CRC32", "SHA256"] satisfies ChecksumAlgorithm[])("checks parts by %s", async (ChecksumAlgorithm) => {
    const Body = randomBytes(6 * MiB)
    const upload = new Upload({
      client: s3,
      params: { Bucket, Key: "parts", Body, ChecksumAlgorithm },
      partSize: 5 * MiB,
    })
    expect((await upload.done())[`Checksum${ChecksumAlgorithm}`]).toMatch(/-2$/)
    expect((await bytesOf("parts")).equals(Body)).toBe(true)
  })

  it("gives parts under CRC64NVME the checksum of the whole", async () => {
    const params = { Bucket, Body: randomBytes(6 * MiB), ChecksumAlgorithm: "CRC64NVME" as const }
    const parts = await new Upload({ client: s3, params: { ...params, Key: "parts" }, partSize: 5 * MiB }).done()
    const whole = await s3.putObject({ ...params, Key: "whole" })
    expect(parts.ChecksumCRC64NVME).toBe(whole.ChecksumCRC64NVME)
    expect((await bytesOf("parts")).equals(params.Body)).toBe(true)
  })

  it.each(hostileKeys)("keeps the key %j a name and never a path", async (Key) => {
    const Body = `the bytes of ${Key}`
    await s3.putObject({ Bucket, Key, Body })
    expect((await bytesOf(Key)).toString()).toBe(Body)
    const { Contents } = await s3.listObjectsV2({ Bucket, Prefix: Key, EncodingType: "url" })
    const listed = Contents?.map((item) => decodeURIComponent(item.Key ?? ""))
    expect(listed).toContain(Key)
    await s3.deleteObject({ Bucket, Key })
    expect(await refusalOf(s3.getObject({ Bucket, Key }))).toMatchObject({ name: "NoSuchKey", status: 404 })
  })

  it("leaves nothing outside its own directory", async () => {
    expect(await readdir(api.directory)).toEqual(["store"])
    expect((await readdir(join(api.directory, "store"))).toSorted()).toEqual(["accounts", "tmp"])
  })

  it("refuses a key of more than 1024 bytes", async () => {
    expect(await refusalOf(s3.putObject({ Bucket, Key: "é".repeat(513), Body: "x" }))).toMatchObject({
      name: "KeyTooLongError",
      status: 400,
    })
  })

  it("lists in the order of UTF-8, by prefix and delimiter, in pages", async () => {
    await s3.createBucket({ Bucket: "listed" })
    const keys = ["a", "a/b", "a/c/d", "b", "b/x", "\u{1f43b}", "\uff5e", "é"]
    await Promise.all(keys.map((Key) => s3.putObject({ Bucket: "listed", Key, Body: Key })))
    const sorted = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    const all = await s3.listObjectsV2({ Bucket: "listed" })
    expect(all.Contents?.map(({ Key }) => Key)).toEqual(sorted)
    expect(all).toMatchObject({ KeyCount: keys.length, IsTruncated: false })
    expect(all.Contents?.[0]).not.toHaveProperty("Owner")
    const owned = await s3.listObjectsV2({ Bucket: "listed", FetchOwner: true })
    expect(owned.Contents?.[0]?.Owner).toMatchObject({ ID: "000000000000" })
    const encoded = s3.listObjectsV2({ Bucket: "listed", EncodingType: "base64" as never })
    expect(await refusalOf(encoded)).toMatchObject({ name: "InvalidArgument" })
    const seen: (string | undefined)[] = []
    for (let ContinuationToken: string | undefined; ;) {
      const page = await s3.listObjectsV2({
        Bucket: "listed",
        MaxKeys: 2,
        Delimiter: "/",
        ...(ContinuationToken === undefined ? {} : { ContinuationToken }),
      })
      seen.push(
        ...(page.Contents ?? []).map(({ Key }) => Key),
        ...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix),
      )
      ContinuationToken = page.NextContinuationToken
      if (!ContinuationToken) break
    }
    expect(new Set(seen)).toEqual(new Set(["a", "a/", "b", "b/", "\u{1f43b}", "\uff5e", "é"]))
    const under = await s3.listObjectsV2({ Bucket: "listed", Prefix: "a/", Delimiter: "/" })
    expect(under.Contents?.map(({ Key }) => Key)).toEqual(["a/b"])
    expect(under.CommonPrefixes).toEqual([{ Prefix: "a/c/" }])
    await s3.putObject({ Bucket: "listed", Key: "a/a", Body: "between" })
    await s3.deleteObject({ Bucket: "listed", Key: "a/b" })
    const changed = await s3.listObjectsV2({ Bucket: "listed", Prefix: "a/", StartAfter: "a" })
    expect(changed.Contents?.map(({ Key }) => Key)).toEqual(["a/a", "a/c/d"])
    const behind = await s3.listObjectsV2({ Bucket: "listed", Prefix: "a/", StartAfter: "b" })
    expect(behind.Contents).toBeUndefined()
    const after = await s3.listObjectsV2({ Bucket: "listed", StartAfter: "b" })
    expect(after.Contents?.[0]?.Key).toBe("b/x")
    expect(await refusalOf(s3.listObjectsV2({ Bucket: "listed", ContinuationToken: "!" }))).toMatchObject({
      name: "InvalidArgument",
    })
  })

  it("makes, lists and removes buckets, each account's apart", async () => {
    const stranger = api.s3({ credentials: otherCredentials })
    expect(await refusalOf(stranger.getObject({ Bucket, Key: "app.zip" }))).toMatchObject({
      name: "NoSuchBucket",
      status: 404,
    })
    expect(await refusalOf(stranger.headBucket({ Bucket }))).toMatchObject({ status: 404 })
    await stranger.createBucket({ Bucket })
    await stranger.putObject({ Bucket, Key: "app.zip", Body: "mine" })
    expect((await bytesOf("app.zip")).toString()).toBe("another")
    expect((await stranger.listBuckets({})).Buckets?.map(({ Name }) => Name)).toEqual([Bucket])
    expect(await refusalOf(stranger.deleteBucket({ Bucket }))).toMatchObject({ name: "BucketNotEmpty", status: 409 })
    await stranger.deleteObject({ Bucket, Key: "app.zip" })
    await stranger.deleteObject({ Bucket, Key: "app.zip" })
    await stranger.deleteBucket({ Bucket })
    expect((await stranger.listBuckets({})).Buckets).toEqual([])
    for (const name of ["one-a", "one-b", "two-a"]) await stranger.createBucket({ Bucket: name })
    const first = await stranger.listBuckets({ MaxBuckets: 1, Prefix: "one-" })
    const { ContinuationToken } = first
    const second = await stranger.listBuckets({ MaxBuckets: 1, Prefix: "one-", ContinuationToken })
    expect([first, second].map(({ Buckets }) => Buckets?.map(({ Name }) => Name))).toEqual([["one-a"], ["one-b"]])
    expect(second.ContinuationToken).toBeUndefined()
    expect(await refusalOf(s3.createBucket({ Bucket }))).toMatchObject({ name: "BucketAlreadyOwnedByYou", status: 409 })
    expect(await s3.headBucket({ Bucket })).toMatchObject({ BucketRegion: region })
    for (const name of ["..", "Upper", "a", "a..b", "x".repeat(64)]) {
      const answer = await signedSend(api.port, { method: "PUT", service: "s3", path: `/${name}` })
      expect([answer.status, /<Code>(.*)<\/Code>/.exec(answer.text)?.[1]]).toEqual([400, "InvalidBucketName"])
    }
  })

  it("replaces nothing when asked not to, and answers conditions", async () => {
    await s3.putObject({ Bucket, Key: "once", Body: "first", IfNoneMatch: "*" })
    expect(await refusalOf(s3.putObject({ Bucket, Key: "once", Body: "second", IfNoneMatch: "*" }))).toMatchObject({
      name: "PreconditionFailed",
      status: 412,
    })
    const { ETag } = await s3.headObject({ Bucket, Key: "once" })
    expect(await refusalOf(s3.getObject({ Bucket, Key: "once", IfNoneMatch: ETag }))).toMatchObject({ status: 304 })
    expect(await refusalOf(s3.getObject({ Bucket, Key: "once", IfMatch: '"other"' }))).toMatchObject({ status: 412 })
    const [before, later] = [new Date(0), new Date(Date.now() + 60_000)]
    const old = s3.getObject({ Bucket, Key: "once", IfUnmodifiedSince: before })
    expect(await refusalOf(old)).toMatchObject({ status: 412 })
    expect(await refusalOf(s3.headObject({ Bucket, Key: "once", IfModifiedSince: later }))).toMatchObject({
      status: 304,
    })
    await s3.headObject({ Bucket, Key: "once", IfModifiedSince: before, IfUnmodifiedSince: later })
    const named = await s3.getObject({ Bucket, Key: "once", ResponseContentDisposition: "attachment", IfMatch: ETag })
    expect(named.ContentDisposition).toBe("attachment")
    expect(await temporaryFiles()).toEqual([])
  })

  it("gives the last of many writers, whole", async () => {
    const bodies = Array.from({ length: 12 }, () => randomBytes(50_000))
    await Promise.all(bodies.map((Body) => s3.putObject({ Bucket, Key: "contended", Body })))
    const kept = await bytesOf("contended")
    expect(bodies.some((body) => body.equals(kept))).toBe(true)
  })

  it("opens to a presigned URL until it expires", async () => {
    await s3.putObject({ Bucket, Key: "shared", Body: "for a while" })
    const presign = (at: Date, expires: number) => {
      const stamp = at.toISOString().replace(/[-:]|\.\d{3}/g, "")
      const scope = `${stamp.slice(0, 8)}/${region}/s3/aws4_request`
      const query = [
        "X-Amz-Algorithm=AWS4-HMAC-SHA256",
        `X-Amz-Credential=${encodeURIComponent(`${credentials.accessKeyId}/${scope}`)}`,
        `X-Amz-Date=${stamp}`,
        `X-Amz-Expires=${expires}`,
        "X-Amz-SignedHeaders=host",
      ].join("&")
      const canonical = `GET\n/${Bucket}/shared\n${query}\nhost:127.0.0.1:${api.port}\n\nhost\nUNSIGNED-PAYLOAD`
      const key = ["s3", "aws4_request"].reduce(
        (secret, step) => createHmac("sha256", secret).update(step).digest(),
        createHmac(
          "sha256",
          createHmac("sha256", `AWS4${credentials.secretAccessKey}`).update(stamp.slice(0, 8)).digest(),
        )
          .update(region)
          .digest(),
      )
      const signature = createHmac("sha256", key)
        .update(`AWS4-HMAC-SHA256\n${stamp}\n${scope}\n${sha256Hex(canonical)}`)
        .digest("hex")
      return `${api.url}/${Bucket}/shared?${query}&X-Amz-Signature=${signature}`
    }
    const good = await fetch(presign(new Date(), 60))
    expect([good.status, await good.text()]).toEqual([200, "for a while"])
    expect((await fetch(presign(new Date(Date.now() - 120_000), 60))).status).toBe(403)
    expect((await fetch(presign(new Date(), 60).replace("shared", "app.zip"))).status).toBe(403)
    expect((await fetch(presign(new Date(), 60).replace("Expires=60", "Expires=600"))).status).toBe(403)
  })
})
