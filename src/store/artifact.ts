import { randomUUID } from "node:crypto"
import { open, rm } from "node:fs/promises"
import { join } from "node:path"
import type { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"

export type ArtifactErrorCode = "S3_NO_SUCH_KEY" | "S3_NO_SUCH_BUCKET" | "S3_ACCESS_DENIED" | "S3_INVALID_OBJECT"

/** Why an artifact cannot be had; the code is part of a build's reason. */
export class ArtifactError extends Error {
  override readonly name = "ArtifactError"
  readonly code: ArtifactErrorCode

  constructor(code: ArtifactErrorCode, message: string, options?: ErrorOptions) {
    super(`${code}: ${message}`, options)
    this.code = code
  }
}

/** A private copy of an artifact, removed when it is disposed of; until then it is the caller's to do with as they like. */
export interface Artifact extends AsyncDisposable {
  readonly path: string
  readonly bytes: number
  readonly etag: string
}

/** Where artifacts are fetched from. */
export interface Artifacts {
  /** Fetches `s3://bucket/key` as the account sees it. Throws {@link ArtifactError}. The caller disposes of the copy. */
  openArtifact(
    uri: string,
    scope: { readonly account: string; readonly region: string },
    signal: AbortSignal,
  ): Promise<Artifact>
}

/** Splits `s3://bucket/key`. */
export const parseArtifactUri = (uri: string): { bucket: string; key: string } => {
  const [, bucket, key] = /^s3:\/\/([^/]+)\/(.+)$/s.exec(uri) ?? []
  if (bucket === undefined || key === undefined)
    throw new ArtifactError("S3_INVALID_OBJECT", `${uri} is not of the form s3://bucket/key.`)
  return { bucket, key }
}

const checkSize = (uri: string, bytes: number, maxBytes: number) => {
  if (bytes > maxBytes) throw new ArtifactError("S3_INVALID_OBJECT", `${uri} is larger than ${maxBytes} bytes.`)
}

/** Copies a stream to a file of its own, which is removed again when anything goes wrong or more than was announced comes. */
export const keepArtifact = async (
  source: Readable,
  {
    uri,
    bytes,
    etag,
    directory,
    maxBytes,
  }: { uri: string; bytes: number; etag: string; directory: string; maxBytes: number },
  signal: AbortSignal,
): Promise<Artifact> => {
  const path = join(directory, `artifact-${randomUUID()}`)
  const remove = () => rm(path, { force: true })
  try {
    signal.throwIfAborted()
    checkSize(uri, bytes, maxBytes)
    // Open before anything can fail: a stream that opens it itself may do so behind its removal.
    const file = await open(path, "wx", 0o600)
    let copied = 0
    await pipeline(
      source,
      async function* (pieces: AsyncIterable<Uint8Array>) {
        for await (const piece of pieces) {
          copied += piece.length
          checkSize(uri, copied, maxBytes)
          yield piece
        }
      },
      file.createWriteStream(),
      { signal },
    )
    if (copied !== bytes)
      throw new ArtifactError("S3_INVALID_OBJECT", `${uri} broke off after ${copied} of ${bytes} bytes.`)
    return { path, bytes, etag, [Symbol.asyncDispose]: remove }
  } catch (error) {
    source.destroy()
    await remove()
    throw error
  }
}
