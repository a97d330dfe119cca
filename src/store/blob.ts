import { open, rm } from "node:fs/promises"
import { ServiceError } from "../errors.ts"
import { createChecksum, type ChecksumAlgorithm } from "./checksum.ts"
import type { Quota } from "./quota.ts"
import type { Expected } from "./stored-object.ts"

/** A file that holds a body, synced; nobody knows it yet. */
export interface Blob {
  readonly path: string
  readonly bytes: number
  readonly md5: Buffer
  /** Of the algorithm asked for, if any. */
  readonly checksum: Buffer | undefined
}

export interface BlobOptions {
  readonly maxBytes: number
  readonly algorithm: ChecksumAlgorithm | undefined
  readonly expected: () => Expected
  /** Charged for the file and every byte; `undefined` when they are counted already. */
  readonly quota: Quota | undefined
}

const tooLarge = (maxBytes: number) =>
  new ServiceError("EntityTooLarge", 400, `Your proposed upload exceeds the maximum allowed size of ${maxBytes} bytes.`)

const badDigest = (what: string) =>
  new ServiceError("BadDigest", 400, `The ${what} you specified did not match the calculated checksum.`)

/**
 * Writes a body to a new file, in constant memory, and syncs it. Whatever goes wrong (the body breaks off, is too long, isn't
 * what was announced) leaves no file behind and gives the quota back.
 */
export const writeBlob = async (
  path: string,
  body: AsyncIterable<Uint8Array>,
  { maxBytes, algorithm, expected, quota }: BlobOptions,
  signal: AbortSignal,
): Promise<Blob> => {
  quota?.takeFile()
  let bytes = 0
  try {
    await using file = await open(path, "wx", 0o600)
    const md5 = createChecksum("MD5")
    const checksum = algorithm && createChecksum(algorithm)
    for await (const chunk of body) {
      signal.throwIfAborted()
      if (bytes + chunk.length > maxBytes) throw tooLarge(maxBytes)
      quota?.take(chunk.length)
      bytes += chunk.length
      md5.update(chunk)
      checksum?.update(chunk)
      for (let written = 0; written < chunk.length;) {
        written += (await file.write(chunk, written)).bytesWritten
      }
    }
    const blob = { path, bytes, md5: await md5.digest(), checksum: await checksum?.digest() }
    const wanted = expected()
    if (wanted.md5 && !wanted.md5.equals(blob.md5)) throw badDigest("Content-MD5")
    if (wanted.checksum !== undefined && wanted.checksum !== blob.checksum?.toString("base64"))
      throw badDigest(algorithm ?? "checksum")
    await file.datasync()
    return blob
  } catch (error) {
    quota?.give(1, bytes)
    await rm(path, { force: true })
    if ((error as NodeJS.ErrnoException).code === "ENOSPC") {
      throw new ServiceError("QuotaExceeded", 403, "There is no room left on the disk that artifacts are kept on.")
    }
    throw error
  }
}
