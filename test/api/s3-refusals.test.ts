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
  afterAll(() => api[Symbol.asyncDispose]())

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
