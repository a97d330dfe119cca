import { once } from "node:events"
import { connect } from "node:net"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { deserialize } from "../../src/api/aws/deserialize.ts"
import * as shapes from "../../src/api/aws/microvms/shapes.ts"
import { decodeAwsChunked } from "../../src/api/aws/s3/aws-chunked.ts"
import { parseRecords } from "../../src/api/aws/s3/xml.ts"
import { SignatureRefusal } from "../../src/api/aws/signature-refusal.ts"
import { createVerifier } from "../../src/api/aws/sigv4.ts"
import { parseTarget } from "../../src/api/aws/target.ts"
import { validate } from "../../src/api/aws/validation.ts"
import { ServiceError } from "../../src/errors.ts"
import { startApi } from "./api-under-test.ts"
import { sign, signedSend } from "./signed-fetch.ts"

async function* cut(wire: Buffer, sizes: number[]): AsyncGenerator<Buffer> {
  let at = 0
  for (let index = 0; at < wire.length; index++) {
    const size = sizes[index % sizes.length] ?? 1
    yield wire.subarray(at, at + size)
    at += size
  }
}

const read = async (source: AsyncIterable<Uint8Array>) => {
  const pieces: Uint8Array[] = []
  for await (const piece of source) pieces.push(piece)
  return Buffer.concat(pieces)
}

const known = (error: unknown) => {
  if (!(error instanceof ServiceError) && !(error instanceof SignatureRefusal)) throw error
}

const unsigned = { signer: undefined, hasTrailer: true, decodedBytes: undefined }

describe("Hostile input", () => {
  it("in aws-chunked is decoded the same however the network cuts it", async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 5 })
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 5 }),
        sizes,
        async (chunks, cuts) => {
          const encoded = chunks.flatMap((chunk) => [
            Buffer.from(`${chunk.length.toString(16)}\r\n`),
            chunk,
            Buffer.from("\r\n"),
          ])
          const wire = Buffer.concat([...encoded, Buffer.from("0\r\nx-amz-checksum-crc32: abc=\r\n\r\n")])
          const trailers: string[] = []
          const onTrailer = (name: string, value: string) => void trailers.push(name, value)
          const decoded = await read(decodeAwsChunked(cut(wire, cuts), { ...unsigned, onTrailer }))
          expect(decoded.equals(Buffer.concat(chunks))).toBe(true)
          expect(trailers).toEqual(["x-amz-checksum-crc32", "abc="])
        },
      ),
    )
  })

  it("in aws-chunked is refused by name, never by accident", async () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 20 }),
      fc.constantFrom("\r\n", "5\r\n", "0\r\n\r\n", "ffffffffff\r\n", ";chunk-signature=", "a:b\r\n"),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 8 }), async (pieces) => {
        const wire = Buffer.concat(pieces.map((part) => Buffer.from(part as Uint8Array)))
        await read(decodeAwsChunked(cut(wire, [7]), { ...unsigned, onTrailer: () => undefined })).catch(known)
      }),
    )
  })

  it("in an Authorization header or a query is refused by name, and never taken", async () => {
    const verifier = createVerifier({ find: async () => ({ account: "a", secret: "s" }) }, () => Date.UTC(2026, 0, 1))
    const word = fc.oneof(
      fc.string({ unit: "grapheme-ascii" }),
      fc.constantFrom(
        "AWS4-HMAC-SHA256 ",
        "Credential=",
        "A/20260101/r/lambda/aws4_request",
        "SignedHeaders=host;x-amz-date",
        "Signature=",
        "0".repeat(64),
        ", ",
      ),
    )
    const text = fc.array(word, { maxLength: 8 }).map((words) => words.join("").replaceAll(/[^\x20-\x7e]/g, ""))
    await fc.assert(
      fc.asyncProperty(text, text, async (authorization, query) => {
        const headers = new Headers({ authorization, host: "h", "x-amz-date": "20260101T000000Z" })
        let taken = false
        try {
          const candidate = await verifier.open({ method: "GET", target: parseTarget(`/?${query}`), headers }, [
            "lambda",
            "s3",
          ])
          candidate.confirm("0".repeat(64))
          taken = true
        } catch (error) {
          known(error)
        }
        expect(taken).toBe(false)
      }),
      { numRuns: 500 },
    )
  })

  it("as JSON of any form is refused by name or taken apart", () => {
    const shape = fc.constantFrom(...Object.values(shapes))
    fc.assert(
      fc.property(
        shape,
        fc.jsonValue(),
        fc.dictionary(
          fc.constantFrom("name", "logging", "hooks", "tags", "allowedPorts", "idlePolicy"),
          fc.jsonValue(),
        ),
        (input, any, members) => {
          for (const json of [any, members]) {
            try {
              validate(input, deserialize(input, json))
            } catch (error) {
              known(error)
            }
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  it("as XML yields records or none", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.constantFrom(
            "<Part>",
            "</Part>",
            "<ETag>",
            "</ETag>",
            "&quot;",
            "&#x110000;",
            "&#99;",
            "&x;",
            "a",
            "<!ENTITY a>",
          ),
          { maxLength: 30 },
        ),
        (words) => {
          for (const record of parseRecords(words.join(""), "Part", 100)) expect(record).toBeInstanceOf(Map)
        },
      ),
    )
    expect(parseRecords("<Part><ETag>&quot;a&amp;&#x62;&quot;</ETag></Part>", "Part", 100)).toEqual([
      new Map([["ETag", '"a&b"']]),
    ])
  })

  it("that breaks off is the client's doing, and no error of ours", async () => {
    await using api = await startApi()
    const path = "/2025-09-09/microvms"
    const { headers } = sign({ method: "POST", path, body: "" }, `127.0.0.1:${api.port}`)
    const lines = Object.entries({ ...headers, "content-length": "1000" }).map(([name, value]) => `${name}: ${value}`)
    const socket = connect(api.port, "127.0.0.1")
    await once(socket, "connect")
    socket.end(`POST ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n{"half`)
    socket.resume()
    await once(socket, "close")
    expect((await signedSend(api.port, { path })).status).toBe(200)
    expect(api.logged.filter((line) => line.includes('"level":50'))).toEqual([])
  })
})
