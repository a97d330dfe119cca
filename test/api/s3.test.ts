import { createHash, createHmac, randomBytes } from "node:crypto"
import { once } from "node:events"
import { readdir } from "node:fs/promises"
import { connect } from "node:net"
import { join } from "node:path"
import { Readable } from "node:stream"
import type { ChecksumAlgorithm, S3 } from "@aws-sdk/client-s3"
import { Upload } from "@aws-sdk/lib-storage"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { credentials, otherCredentials, refusalOf, region, sha256Hex, startApi, type ApiUnderTest } from "./api-under-test.ts"
import { send, sign, signedSend } from "./signed-fetch.ts"

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
  afterAll(() => api[Symbol.asyncDispose]())

  const bytesOf = async (Key: string, client = s3) => {
    const { Body } = await client.getObject({ Bucket, Key })
    return Buffer.from((await Body?.transformToByteArray()) ?? [])
  }
  const temporaryFiles = () => readdir(join(api.directory, "store", "tmp"))

  it("keeps what the SDK puts, with its type, metadata and checksum", async () => {
    const Body = randomBytes(100_000)
    const put = await s3.putObject({ Bucket, Key: "app.zip", Body, ContentType: "application/zip", Metadata: { author: "ada" } })
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
    expect(Date.now() - (head.LastModified?.getTime() ?? 0)).toBeLessThan(3_600_000)
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
      const wrong = Buffer.from(right, "base64")
        .map((byte) => byte ^ 1)
        .toString()
      const bad = Buffer.from(Buffer.from(right, "base64").map((byte) => byte ^ 1)).toString("base64")
      expect(wrong).not.toBe(right)
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

  it("takes 64 MiB in parts from lib-storage, in constant memory, and gives ranges back", async () => {
    const piece = randomBytes(MiB)
    const before = process.memoryUsage.rss()
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
    const uploaded = await new Upload({ client: s3, params: { Bucket, Key: "large", Body: body }, partSize: 5 * MiB }).done()
    expect(uploaded.ETag).toMatch(/^"[0-9a-f]{32}-13"$/)
    const { Body, ContentLength } = await s3.getObject({ Bucket, Key: "large" })
    expect(ContentLength).toBe(64 * MiB)
    const read = createHash("sha256")
    for await (const chunk of Body as Readable) read.update(chunk as Buffer)
    expect(read.digest("hex")).toBe(hash.digest("hex"))
    expect(process.memoryUsage.rss() - before).toBeLessThan(400 * MiB)
    expect(await temporaryFiles()).toEqual([])

    const range = async (Range: string) => {
      const got = await s3.getObject({ Bucket, Key: "large", Range })
      return { range: got.ContentRange, bytes: Buffer.from((await got.Body?.transformToByteArray()) ?? []) }
    }
    const total = 64 * MiB
    expect(await range("bytes=10-19")).toEqual({ range: `bytes 10-19/${total}`, bytes: piece.subarray(10, 20) })
    expect(await range(`bytes=${MiB - 1}-${MiB}`)).toMatchObject({ bytes: Buffer.from([piece[MiB - 1] ?? 0, piece[0] ?? 0]) })
    expect(await range("bytes=-3")).toEqual({ range: `bytes ${total - 3}-${total - 1}/${total}`, bytes: piece.subarray(MiB - 3) })
    expect((await range(`bytes=${total - 2}-`)).bytes).toEqual(piece.subarray(MiB - 2))
    expect(await refusalOf(s3.getObject({ Bucket, Key: "large", Range: `bytes=${total}-` }))).toMatchObject({
      name: "InvalidRange",
      status: 416,
    })
  })

  it.each(["CRC32", "CRC64NVME", "SHA256"] satisfies ChecksumAlgorithm[])(
    "puts parts together under %s",
    async (ChecksumAlgorithm) => {
      const Body = randomBytes(6 * MiB)
      const done = await new Upload({
        client: s3,
        params: { Bucket, Key: "parts", Body, ChecksumAlgorithm },
        partSize: 5 * MiB,
      }).done()
      const checksum = done[`Checksum${ChecksumAlgorithm}`]
      if (ChecksumAlgorithm === "CRC64NVME") {
        const { ChecksumCRC64NVME } = await s3.putObject({ Bucket, Key: "whole", Body, ChecksumAlgorithm })
        expect(checksum).toBe(ChecksumCRC64NVME)
      } else expect(checksum).toMatch(/-2$/)
      expect((await bytesOf("parts")).equals(Body)).toBe(true)
    },
  )

  it("holds an upload in parts to its rules", async () => {
    const Key = "ruled"
    const { UploadId } = await s3.createMultipartUpload({ Bucket, Key })
    const part = (PartNumber: number, Body: Buffer) => s3.uploadPart({ Bucket, Key, UploadId, PartNumber, Body })
    const [one, two] = [await part(1, randomBytes(100)), await part(2, randomBytes(100))]
    const complete = (...Parts: { PartNumber: number; ETag: string | undefined }[]) =>
      refusalOf(s3.completeMultipartUpload({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))
    const [first, second] = [
      { PartNumber: 1, ETag: one.ETag },
      { PartNumber: 2, ETag: two.ETag },
    ]
    expect(await complete(second, first)).toMatchObject({ name: "InvalidPartOrder" })
    expect(await complete(first, second)).toMatchObject({ name: "EntityTooSmall" })
    expect(await complete({ PartNumber: 1, ETag: two.ETag })).toMatchObject({ name: "InvalidPart" })
    expect(await complete({ PartNumber: 3, ETag: two.ETag })).toMatchObject({ name: "InvalidPart" })
    expect(await complete()).toMatchObject({ name: "MalformedXML" })
    const elsewhere = s3.uploadPart({ Bucket, Key: "other", UploadId, PartNumber: 1, Body: "x" })
    expect(await refusalOf(elsewhere)).toMatchObject({ name: "NoSuchUpload", status: 404 })
    expect(await refusalOf(s3.uploadPart({ Bucket, Key, UploadId, PartNumber: 10_001, Body: "x" }))).toMatchObject({
      name: "InvalidArgument",
    })
    const stranger = api.s3({ credentials: otherCredentials })
    expect(await refusalOf(stranger.abortMultipartUpload({ Bucket, Key, UploadId }))).toMatchObject({ name: "NoSuchUpload" })
    await s3.abortMultipartUpload({ Bucket, Key, UploadId })
    expect(await complete(first)).toMatchObject({ name: "NoSuchUpload" })
    expect(await temporaryFiles()).toEqual([])
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
    const seen: (string | undefined)[] = []
    for (let ContinuationToken: string | undefined; ;) {
      const page = await s3.listObjectsV2({
        Bucket: "listed",
        MaxKeys: 2,
        Delimiter: "/",
        ...(ContinuationToken === undefined ? {} : { ContinuationToken }),
      })
      seen.push(...(page.Contents ?? []).map(({ Key }) => Key), ...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix))
      ContinuationToken = page.NextContinuationToken
      if (!ContinuationToken) break
    }
    expect(seen.toSorted()).toEqual(["a", "a/", "b", "b/", "\u{1f43b}", "\uff5e", "é"].toSorted())
    const under = await s3.listObjectsV2({ Bucket: "listed", Prefix: "a/", Delimiter: "/" })
    expect(under.Contents?.map(({ Key }) => Key)).toEqual(["a/b"])
    expect(under.CommonPrefixes).toEqual([{ Prefix: "a/c/" }])
    const after = await s3.listObjectsV2({ Bucket: "listed", StartAfter: "b" })
    expect(after.Contents?.[0]?.Key).toBe("b/x")
    expect(await refusalOf(s3.listObjectsV2({ Bucket: "listed", ContinuationToken: "!" }))).toMatchObject({
      name: "InvalidArgument",
    })
  })

  it("makes, lists and removes buckets, each account's apart", async () => {
    const stranger = api.s3({ credentials: otherCredentials })
    expect(await refusalOf(stranger.getObject({ Bucket, Key: "app.zip" }))).toMatchObject({ name: "NoSuchBucket", status: 404 })
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
    expect(await temporaryFiles()).toEqual([])
  })

  it("gives the last of many writers, whole", async () => {
    const bodies = Array.from({ length: 12 }, () => randomBytes(50_000))
    await Promise.all(bodies.map((Body) => s3.putObject({ Bucket, Key: "contended", Body })))
    const kept = await bytesOf("contended")
    expect(bodies.some((body) => body.equals(kept))).toBe(true)
  })

  describe("refuses", () => {
    const codeOf = ({ status, text }: { status: number; text: string }) => [status, /<Code>(.*)<\/Code>/.exec(text)?.[1]]
    const path = `/${Bucket}/refused`
    const put = { method: "PUT", service: "s3", path, body: "some bytes" }

    it("what isn't signed right, in S3's words", async () => {
      expect(codeOf(await signedSend(api.port, { ...put, accessKeyId: "AKIANOBODY" }))).toEqual([403, "InvalidAccessKeyId"])
      expect(codeOf(await signedSend(api.port, { ...put, secretAccessKey: "wrong" }))).toEqual([403, "SignatureDoesNotMatch"])
      expect(codeOf(await signedSend(api.port, { ...put, at: new Date(Date.now() - 310_000) }))).toEqual([
        403,
        "RequestTimeTooSkewed",
      ])
      const { method, headers } = sign(put, `127.0.0.1:${api.port}`)
      expect(codeOf(await send(api.port, { method, path, headers, body: "other body" }))).toEqual([
        400,
        "XAmzContentSHA256Mismatch",
      ])
      expect(codeOf(await send(api.port, { method, path: `/${Bucket}/elsewhere`, headers, body: "some bytes" }))).toEqual([
        403,
        "SignatureDoesNotMatch",
      ])
      const sneaked = { ...headers, "x-amz-meta-sneaked": "in" }
      expect(codeOf(await send(api.port, { method, path, headers: sneaked, body: "some bytes" }))).toEqual([403, "AccessDenied"])
      expect(await refusalOf(s3.headObject({ Bucket, Key: "refused" }))).toMatchObject({ status: 404 })
    })

    it("what it doesn't do, without doing something else", async () => {
      const ask = async (method: string, query: string) =>
        codeOf(
          await signedSend(api.port, {
            method,
            service: "s3",
            path: `/${Bucket}${query}`,
            ...(method === "GET" ? {} : { body: "<x/>" }),
          }),
        )
      for (const query of ["?versioning", "?acl", "?policy", "/app.zip?tagging", "/app.zip?versionId=1", "?delete"]) {
        expect(await ask("PUT", query)).toEqual([501, "NotImplemented"])
        expect(await ask("GET", query)).toEqual([501, "NotImplemented"])
      }
      const copy = s3.copyObject({ Bucket, Key: "copy", CopySource: `${Bucket}/app.zip` })
      expect(await refusalOf(copy)).toMatchObject({ name: "NotImplemented", status: 501 })
      expect((await bytesOf("app.zip")).toString()).toBe("another")
    })

    it("a wrong Content-MD5", async () => {
      const md5 = createHash("md5").update("other").digest("base64")
      expect(codeOf(await signedSend(api.port, { ...put, headers: { "content-md5": md5 } }))).toEqual([400, "BadDigest"])
      expect(codeOf(await signedSend(api.port, { ...put, headers: { "content-md5": "abc" } }))).toEqual([400, "InvalidDigest"])
    })

    it("an upload before its body is sent, when the client waits to be asked", async () => {
      const { method, headers } = sign(
        { ...put, body: "", payloadHash: "UNSIGNED-PAYLOAD", accessKeyId: "AKIANOBODY" },
        `127.0.0.1:${api.port}`,
      )
      const socket = connect(api.port, "127.0.0.1")
      const lines = Object.entries({ ...headers, expect: "100-continue", "content-length": "1000000000" }).map(
        ([name, value]) => `${name}: ${value}`,
      )
      socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`)
      const [first] = (await once(socket, "data")) as [Buffer]
      expect(first.toString()).toMatch(/^HTTP\/1.1 403/)
      socket.destroy()
    })

    it("an upload that breaks off, and nothing of it stays", async () => {
      const { method, headers } = sign({ ...put, body: "", payloadHash: "UNSIGNED-PAYLOAD" }, `127.0.0.1:${api.port}`)
      const socket = connect(api.port, "127.0.0.1")
      const lines = Object.entries({ ...headers, "content-length": "1000000" }).map(([name, value]) => `${name}: ${value}`)
      socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n${"x".repeat(300_000)}`)
      await vi.waitFor(async () => expect(await temporaryFiles()).toHaveLength(1))
      socket.destroy()
      await vi.waitFor(async () => expect(await temporaryFiles()).toHaveLength(0))
      expect(await refusalOf(s3.headObject({ Bucket, Key: "refused" }))).toMatchObject({ status: 404 })
      expect(api.logged.filter((line) => line.includes('"level":50'))).toEqual([])
    })
  })

  describe("with signed chunks", () => {
    const path = `/${Bucket}/chunked`
    const emptyHash = sha256Hex("")
    const chunked = (
      pieces: Buffer[],
      alter: (signature: string, index: number) => string = (signature) => signature,
      trailer?: [string, string],
    ) => {
      const payloadHash = trailer ? "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" : "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
      const decoded = pieces.reduce((sum, piece) => sum + piece.length, 0)
      const signed = sign(
        {
          method: "PUT",
          path,
          service: "s3",
          payloadHash,
          headers: {
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": String(decoded),
            ...(trailer ? { "x-amz-trailer": trailer[0] } : {}),
          },
        },
        `127.0.0.1:${api.port}`,
      )
      const signText = (text: string) => createHmac("sha256", signed.key).update(text).digest("hex")
      let previous = signed.signature
      const parts: Buffer[] = []
      for (const [index, piece] of [...pieces, Buffer.alloc(0)].entries()) {
        previous = signText(`AWS4-HMAC-SHA256-PAYLOAD\n${signed.signedScope}\n${previous}\n${emptyHash}\n${sha256Hex(piece)}`)
        const last = piece.length === 0
        parts.push(Buffer.from(`${piece.length.toString(16)};chunk-signature=${alter(previous, index)}\r\n`), piece)
        if (!last || !trailer) parts.push(Buffer.from("\r\n"))
      }
      if (trailer) {
        const line = `${trailer[0]}:${trailer[1]}`
        const signature = signText(`AWS4-HMAC-SHA256-TRAILER\n${signed.signedScope}\n${previous}\n${sha256Hex(`${line}\n`)}`)
        parts.push(Buffer.from(`${line}\r\nx-amz-trailer-signature:${alter(signature, -1)}\r\n\r\n`))
      }
      return send(api.port, { method: "PUT", path, headers: signed.headers, body: Buffer.concat(parts) })
    }
    const pieces = [randomBytes(65_536), randomBytes(65_536), randomBytes(17)]
    const flip = (signature: string) => signature.replace(/.$/, (last) => (last === "0" ? "1" : "0"))

    it("takes a chain that holds", async () => {
      expect((await chunked(pieces)).status).toBe(200)
      expect((await bytesOf("chunked")).equals(Buffer.concat(pieces))).toBe(true)
      await s3.deleteObject({ Bucket, Key: "chunked" })
    })

    it("takes a signed trailer, and refuses an altered one", async () => {
      const checksum = createHash("sha256").update(Buffer.concat(pieces)).digest("base64")
      const trailer: [string, string] = ["x-amz-checksum-sha256", checksum]
      expect((await chunked(pieces, undefined, trailer)).status).toBe(200)
      await s3.deleteObject({ Bucket, Key: "chunked" })
      const altered = await chunked(pieces, (signature, index) => (index === -1 ? flip(signature) : signature), trailer)
      expect(altered.text).toContain("<Code>SignatureDoesNotMatch</Code>")
    })

    it.each([0, 1, 2, 3])("refuses an altered signature of chunk %i", async (altered) => {
      const answer = await chunked(pieces, (signature, index) => (index === altered ? flip(signature) : signature))
      expect([answer.status, answer.text.includes("SignatureDoesNotMatch")]).toEqual([403, true])
      expect(await refusalOf(s3.headObject({ Bucket, Key: "chunked" }))).toMatchObject({ status: 404 })
    })

    it.each([
      ["not chunked at all", "hello"],
      ["a chunk cut short", "ff\r\nabc"],
      ["more than was announced", `5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n`],
      ["less than was announced", "1\r\nh\r\n0\r\n\r\n"],
      ["an endless line", "1".repeat(20_000)],
      ["bytes after the end", "5\r\nhello\r\n0\r\n\r\nmore"],
    ])("refuses unsigned chunks that are %s", async (_what, body) => {
      const answer = await signedSend(api.port, {
        method: "PUT",
        service: "s3",
        path,
        body,
        payloadHash: "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        headers: { "x-amz-decoded-content-length": "5" },
      })
      expect(answer.status).toBe(400)
      expect(await temporaryFiles()).toEqual([])
    })
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
        createHmac("sha256", createHmac("sha256", `AWS4${credentials.secretAccessKey}`).update(stamp.slice(0, 8)).digest())
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
