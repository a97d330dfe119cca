import { createHash, createHmac, randomBytes } from "node:crypto"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import type { S3 } from "@aws-sdk/client-s3"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { refusalOf, sha256Hex, startApi, type ApiUnderTest } from "./api-under-test.ts"
import { send, sign, signedSend } from "./signed-fetch.ts"

const Bucket = "artifacts"
const path = `/${Bucket}/chunked`
const emptyHash = sha256Hex("")
const pieces = [randomBytes(65_536), randomBytes(65_536), randomBytes(17)]
const flip = (signature: string) => signature.replace(/.$/, (last) => (last === "0" ? "1" : "0"))

describe("An upload in aws-chunked", () => {
  let api: ApiUnderTest
  let s3: S3
  beforeAll(async () => {
    api = await startApi()
    s3 = api.s3()
    await s3.createBucket({ Bucket })
  })
  afterAll(() => api?.[Symbol.asyncDispose]())

  const temporaryFiles = () => readdir(join(api.directory, "store", "tmp"))

  const chunked = (
    bodies: Buffer[],
    alter: (signature: string, index: number) => string = (signature) => signature,
    trailer?: [string, string],
  ) => {
    const payloadHash = trailer ? "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" : "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    const decoded = bodies.reduce((sum, piece) => sum + piece.length, 0)
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
    for (const [index, piece] of [...bodies, Buffer.alloc(0)].entries()) {
      previous = signText(
        `AWS4-HMAC-SHA256-PAYLOAD\n${signed.signedScope}\n${previous}\n${emptyHash}\n${sha256Hex(piece)}`,
      )
      const last = piece.length === 0
      parts.push(Buffer.from(`${piece.length.toString(16)};chunk-signature=${alter(previous, index)}\r\n`), piece)
      if (!last || !trailer) parts.push(Buffer.from("\r\n"))
    }
    if (trailer) {
      const line = `${trailer[0]}:${trailer[1]}`
      const signature = signText(
        `AWS4-HMAC-SHA256-TRAILER\n${signed.signedScope}\n${previous}\n${sha256Hex(`${line}\n`)}`,
      )
      parts.push(Buffer.from(`${line}\r\nx-amz-trailer-signature:${alter(signature, -1)}\r\n\r\n`))
    }
    return send(api.port, { method: "PUT", path, headers: signed.headers, body: Buffer.concat(parts) })
  }

  it("is taken when its chain of signatures holds", async () => {
    expect((await chunked(pieces)).status).toBe(200)
    const { Body } = await s3.getObject({ Bucket, Key: "chunked" })
    expect(Buffer.from((await Body?.transformToByteArray()) ?? []).equals(Buffer.concat(pieces))).toBe(true)
    await s3.deleteObject({ Bucket, Key: "chunked" })
  })

  it("is taken with a signed trailer, and refused with an altered one", async () => {
    const checksum = createHash("sha256").update(Buffer.concat(pieces)).digest("base64")
    const trailer: [string, string] = ["x-amz-checksum-sha256", checksum]
    expect((await chunked(pieces, undefined, trailer)).status).toBe(200)
    await s3.deleteObject({ Bucket, Key: "chunked" })
    const altered = await chunked(pieces, (signature, index) => (index === -1 ? flip(signature) : signature), trailer)
    expect(altered.text).toContain("<Code>SignatureDoesNotMatch</Code>")
  })

  it.each([0, 1, 2, 3])("is refused with an altered signature of chunk %i", async (altered) => {
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
  ])("is refused when it is %s", async (_what, body) => {
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
