import { createHash } from "node:crypto"
import { once } from "node:events"
import { readdir } from "node:fs/promises"
import { connect } from "node:net"
import { join } from "node:path"
import type { S3 } from "@aws-sdk/client-s3"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { eventually } from "../fixtures/eventually.ts"
import { refusalOf, startApi, type ApiUnderTest } from "./api-under-test.ts"
import { send, sign, signedSend } from "./signed-fetch.ts"

const Bucket = "artifacts"
const path = `/${Bucket}/refused`
const put = { method: "PUT", service: "s3", path, body: "some bytes" }
const codeOf = ({ status, text }: { status: number; text: string }) => [status, /<Code>(.*)<\/Code>/.exec(text)?.[1]]

describe("The artifact store refuses", () => {
  let api: ApiUnderTest
  let s3: S3
  beforeAll(async () => {
    api = await startApi()
    s3 = api.s3()
    await s3.createBucket({ Bucket })
    await s3.putObject({ Bucket, Key: "app.zip", Body: "another" })
  })
  afterAll(() => api?.[Symbol.asyncDispose]())

  const temporaryFiles = () => readdir(join(api.directory, "store", "tmp"))

  it("what isn't signed right, in S3's words", async () => {
    expect(codeOf(await signedSend(api.port, { ...put, accessKeyId: "AKIANOBODY" }))).toEqual([
      403,
      "InvalidAccessKeyId",
    ])
    expect(codeOf(await signedSend(api.port, { ...put, secretAccessKey: "wrong" }))).toEqual([
      403,
      "SignatureDoesNotMatch",
    ])
    expect(codeOf(await signedSend(api.port, { ...put, at: new Date(Date.now() - 310_000) }))).toEqual([
      403,
      "RequestTimeTooSkewed",
    ])
    const { method, headers } = sign(put, `127.0.0.1:${api.port}`)
    expect(codeOf(await send(api.port, { method, path, headers, body: "other body" }))).toEqual([
      400,
      "XAmzContentSHA256Mismatch",
    ])
    expect(codeOf(await send(api.port, { method, path: `/${Bucket}/elsewhere`, headers, body: "some bytes" }))).toEqual(
      [403, "SignatureDoesNotMatch"],
    )
    const sneaked = { ...headers, "x-amz-meta-sneaked": "in" }
    expect(codeOf(await send(api.port, { method, path, headers: sneaked, body: "some bytes" }))).toEqual([
      403,
      "AccessDenied",
    ])
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
    const kept = await s3.getObject({ Bucket, Key: "app.zip" })
    expect(await kept.Body?.transformToString()).toBe("another")
  })

  it.each<[string, () => Promise<unknown>]>([
    [
      "a key of the client's own",
      () =>
        s3.putObject({
          Bucket,
          Key: "app.zip",
          Body: "x",
          SSECustomerAlgorithm: "AES256",
          SSECustomerKey: "k".repeat(32),
        }),
    ],
    ["encryption", () => s3.putObject({ Bucket, Key: "app.zip", Body: "x", ServerSideEncryption: "aws:kms" })],
    ["tags", () => s3.putObject({ Bucket, Key: "app.zip", Body: "x", Tagging: "a=b" })],
    ["a lock", () => s3.putObject({ Bucket, Key: "app.zip", Body: "x", ObjectLockMode: "COMPLIANCE" })],
    ["being public", () => s3.putObject({ Bucket, Key: "app.zip", Body: "x", ACL: "public-read" })],
    ["another storage class", () => s3.putObject({ Bucket, Key: "app.zip", Body: "x", StorageClass: "GLACIER" })],
    ["removing under a condition", () => s3.deleteObject({ Bucket, Key: "app.zip", IfMatch: '"other"' })],
  ])("%s, which it would not do", async (_what, ask) => {
    expect(await refusalOf(ask())).toMatchObject({ name: "NotImplemented", status: 501 })
    const kept = await s3.getObject({ Bucket, Key: "app.zip" })
    expect(await kept.Body?.transformToString()).toBe("another")
  })

  it("a bucket that is to be somebody else's, and headers that would fill its memory", async () => {
    expect(
      await refusalOf(s3.deleteObject({ Bucket, Key: "app.zip", ExpectedBucketOwner: "111111111111" })),
    ).toMatchObject({ status: 403 })
    await s3.headObject({ Bucket, Key: "app.zip", ExpectedBucketOwner: "000000000000" })
    const long = s3.putObject({ Bucket, Key: "long", Body: "x", ContentDisposition: "x".repeat(2049) })
    expect(await refusalOf(long)).toMatchObject({ name: "MetadataTooLarge", status: 400 })
  })

  it("parts that are not together what the client says, and goes on with them", async () => {
    const upload = async (more: { ChecksumType?: "FULL_OBJECT" }) => {
      const at = { Bucket, Key: "parts" }
      const { UploadId } = await s3.createMultipartUpload({ ...at, ChecksumAlgorithm: "CRC32", ...more })
      const { ETag } = await s3.uploadPart({ ...at, UploadId, PartNumber: 1, Body: "bytes" })
      return { ...at, UploadId, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } }
    }
    for (const more of [{}, { ChecksumType: "FULL_OBJECT" }] as const) {
      const named = await upload(more)
      const wrong = [{ ChecksumCRC32: "AAAAAA==" }, { MpuObjectSize: 6 }]
      expect(await refusalOf(s3.completeMultipartUpload({ ...named, ...wrong[0] }))).toMatchObject({
        name: "BadDigest",
      })
      expect(await refusalOf(s3.completeMultipartUpload({ ...named, ...wrong[1] }))).toMatchObject({
        name: "InvalidRequest",
      })
      const { ChecksumCRC32 } = await s3.completeMultipartUpload({ ...named, MpuObjectSize: 5 })
      await s3.completeMultipartUpload({ ...(await upload(more)), ChecksumCRC32 })
    }
    await eventually(async () => expect(await temporaryFiles()).toEqual([]))
  })

  it("a list of parts for which there is no room in memory, and no upload for that", async () => {
    await using small = await startApi({ maxBodiesBytes: 1000 })
    const client = small.s3()
    const at = { Bucket, Key: "parts" }
    await client.createBucket({ Bucket })
    const { UploadId } = await client.createMultipartUpload(at)
    const { ETag } = await client.uploadPart({ ...at, UploadId, PartNumber: 1, Body: "x".repeat(5000) })
    const complete = (count: number) =>
      client.completeMultipartUpload({
        ...at,
        UploadId,
        MultipartUpload: { Parts: Array.from({ length: count }, () => ({ PartNumber: 1, ETag })) },
      })
    expect(await refusalOf(complete(100))).toMatchObject({ name: "SlowDown", status: 503 })
    // What was refused has left its room, once its answer is through.
    await eventually(() => complete(1))
  })

  it("a wrong Content-MD5", async () => {
    const md5 = createHash("md5").update("other").digest("base64")
    expect(codeOf(await signedSend(api.port, { ...put, headers: { "content-md5": md5 } }))).toEqual([400, "BadDigest"])
    expect(codeOf(await signedSend(api.port, { ...put, headers: { "content-md5": "abc" } }))).toEqual([
      400,
      "InvalidDigest",
    ])
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
    const lines = Object.entries({ ...headers, "content-length": "1000000" }).map(
      ([name, value]) => `${name}: ${value}`,
    )
    socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n${"x".repeat(300_000)}`)
    await eventually(async () => expect(await temporaryFiles()).toHaveLength(1))
    socket.destroy()
    await eventually(async () => expect(await temporaryFiles()).toHaveLength(0))
    expect(await refusalOf(s3.headObject({ Bucket, Key: "refused" }))).toMatchObject({ status: 404 })
    expect(api.logged.filter((line) => line.includes('"level":50'))).toEqual([])
  })
})
