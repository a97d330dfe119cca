import { createHash, randomUUID } from "node:crypto"
import { createReadStream } from "node:fs"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { ServiceError } from "../errors.ts"
import { writeBlob, type Blob } from "./blob.ts"
import { createChecksum, type ChecksumAlgorithm } from "./checksum.ts"
import type { Quota } from "./quota.ts"
import type { ChecksumType, Expected, ObjectChecksum } from "./stored-object.ts"

export interface UploadTarget {
  readonly account: string
  readonly bucket: string
  readonly key: string
  readonly headers: Readonly<Record<string, string>>
  readonly algorithm: ChecksumAlgorithm | undefined
  readonly checksumType: ChecksumType
}

/** A part as the client names it when it completes. */
export interface NamedPart {
  readonly number: number
  readonly etag: string
  readonly checksum: string | undefined
}

/** What the client says that the parts together are; a checksum in base64. */
export interface WholeObject {
  readonly bytes: number | undefined
  readonly checksum: string | undefined
}

/** An object made of parts, as one file. */
export interface AssembledUpload {
  readonly blob: Blob
  readonly etag: string
  readonly checksum: ObjectChecksum | null
  /** What upload and parts were charged beyond the object itself. */
  readonly unused: { readonly files: number; readonly bytes: number }
}

export interface PartCheck {
  readonly algorithm: ChecksumAlgorithm | undefined
  /** Asked once the body is read. */
  readonly expected: () => Expected
}

interface Upload {
  readonly target: UploadTarget
  readonly quota: Quota
  readonly startedMs: number
  readonly parts: Map<number, Blob>
  expiry: NodeJS.Timeout | undefined
}

/**
 * Multipart uploads under way. They live in memory and in temporary files: the daemon's end is theirs too, and so is their age. A client
 * that goes on then is told NoSuchUpload and starts again.
 */
export interface Uploads {
  /** Throws QuotaExceeded when there are too many. */
  start(target: UploadTarget, quota: Quota): string
  find(uploadId: string, account: string, bucket: string, key: string): UploadTarget
  putPart(
    uploadId: string,
    number: number,
    body: AsyncIterable<Uint8Array>,
    check: PartCheck,
    signal: AbortSignal,
  ): Promise<Blob>
  /** Puts the parts together. The upload is over, and its parts are gone, once it has succeeded; it goes on when they are not the `whole`. */
  assemble(
    uploadId: string,
    named: readonly NamedPart[],
    whole: WholeObject,
    signal: AbortSignal,
  ): Promise<AssembledUpload>
  abort(uploadId: string): Promise<void>
}

export interface UploadLimits {
  readonly maxObjectBytes: number
  /** From its start on. */
  readonly uploadMs: number
}

const minPartBytes = 5 * 1024 * 1024
const noSuchUpload = () =>
  new ServiceError(
    "NoSuchUpload",
    404,
    "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
  )
const invalidPart = () =>
  new ServiceError(
    "InvalidPart",
    400,
    "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
  )

const choose = (upload: Upload, named: readonly NamedPart[]): Blob[] => {
  if (named.some(({ number }, index) => index > 0 && number <= (named[index - 1]?.number ?? 0))) {
    throw new ServiceError("InvalidPartOrder", 400, "The list of parts was not in ascending order.")
  }
  return named.map(({ number, etag, checksum }, index) => {
    const part = upload.parts.get(number)
    if (!part || part.md5.toString("hex") !== etag) throw invalidPart()
    if (checksum !== undefined && part.checksum?.toString("base64") !== checksum) throw invalidPart()
    if (index < named.length - 1 && part.bytes < minPartBytes) {
      throw new ServiceError("EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed size")
    }
    return part
  })
}

const checkSize = (parts: readonly Blob[], whole: WholeObject) => {
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0)
  if (whole.bytes !== undefined && whole.bytes !== bytes)
    throw new ServiceError(
      "InvalidRequest",
      400,
      `The provided 'x-amz-mp-object-size' header does not match what was computed: ${bytes}.`,
    )
}

async function* readAll(parts: readonly Blob[]): AsyncGenerator<Uint8Array> {
  for (const { path } of parts)
    yield* createReadStream(path, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Uint8Array>
}

const composite = async (algorithm: ChecksumAlgorithm, digests: readonly Buffer[]) => {
  const checksum = createChecksum(algorithm)
  for (const digest of digests) checksum.update(digest)
  return `${(await checksum.digest()).toString("base64")}-${digests.length}`
}

/** Keeps uploads' parts in `temporary`. */
export const createUploads = (temporary: string, { maxObjectBytes, uploadMs }: UploadLimits): Uploads => {
  const uploads = new Map<string, Upload>()

  const keep = (uploadId: string, upload: Upload) => {
    const expire = () => void abort(uploadId).catch(() => {})
    upload.expiry = setTimeout(expire, Math.max(0, upload.startedMs + uploadMs - Date.now())).unref()
    uploads.set(uploadId, upload)
  }
  /** Nobody else may change it from here on. */
  const take = (uploadId: string, upload: Upload) => {
    clearTimeout(upload.expiry)
    uploads.delete(uploadId)
  }
  const forget = async (upload: Upload) => {
    await Promise.all([...upload.parts.values()].map(({ path }) => rm(path, { force: true })))
  }
  const chargedBytes = (upload: Upload) => [...upload.parts.values()].reduce((sum, { bytes }) => sum + bytes, 0)

  const abort = async (uploadId: string) => {
    const upload = uploads.get(uploadId)
    if (!upload) throw noSuchUpload()
    upload.quota.give(1 + upload.parts.size, chargedBytes(upload))
    take(uploadId, upload)
    await forget(upload)
  }

  return {
    start: (target, quota) => {
      quota.takeFile()
      const uploadId = randomUUID()
      keep(uploadId, { target, quota, startedMs: Date.now(), parts: new Map(), expiry: undefined })
      return uploadId
    },

    find: (uploadId, account, bucket, key) => {
      const target = uploads.get(uploadId)?.target
      if (!target || target.account !== account || target.bucket !== bucket || target.key !== key) throw noSuchUpload()
      return target
    },

    putPart: async (uploadId, number, body, { algorithm, expected }, signal) => {
      const upload = uploads.get(uploadId)
      if (!upload) throw noSuchUpload()
      const { quota, target } = upload
      if (algorithm && target.algorithm && algorithm !== target.algorithm) {
        throw new ServiceError(
          "InvalidRequest",
          400,
          `Checksum Type mismatch occurred, expected checksum Type: ${target.algorithm}, actual checksum Type: ${algorithm}`,
        )
      }
      const part = await writeBlob(
        join(temporary, randomUUID()),
        body,
        { maxBytes: maxObjectBytes, algorithm: algorithm ?? target.algorithm, expected, quota },
        signal,
      )
      if (uploads.get(uploadId) !== upload) {
        quota.give(1, part.bytes)
        await rm(part.path, { force: true })
        throw noSuchUpload()
      }
      const replaced = upload.parts.get(number)
      upload.parts.set(number, part)
      if (replaced) {
        quota.give(1, replaced.bytes)
        await rm(replaced.path, { force: true })
      }
      return part
    },

    assemble: async (uploadId, named, whole, signal) => {
      const upload = uploads.get(uploadId)
      if (!upload) throw noSuchUpload()
      const { target } = upload
      const parts = choose(upload, named)
      checkSize(parts, whole)
      const { algorithm } = target
      const full = target.checksumType === "FULL_OBJECT"
      const digests = parts.map(({ checksum }) => checksum ?? Buffer.alloc(0))
      const ofParts = algorithm && !full ? await composite(algorithm, digests) : undefined
      if (ofParts !== undefined && whole.checksum !== undefined && whole.checksum !== ofParts)
        throw new ServiceError(
          "BadDigest",
          400,
          `The ${algorithm} you specified did not match the calculated checksum.`,
        )
      if (uploads.get(uploadId) !== upload) throw noSuchUpload()
      take(uploadId, upload)
      try {
        const blob = await writeBlob(
          join(temporary, randomUUID()),
          readAll(parts),
          {
            maxBytes: maxObjectBytes,
            algorithm: full ? target.algorithm : undefined,
            expected: () => ({ md5: undefined, checksum: full ? whole.checksum : undefined }),
            quota: undefined,
          },
          signal,
        )
        const value = full ? blob.checksum?.toString("base64") : ofParts
        const md5s = createHash("md5")
          .update(Buffer.concat(parts.map(({ md5 }) => md5)))
          .digest("hex")
        await forget(upload)
        return {
          blob,
          etag: `${md5s}-${parts.length}`,
          checksum: algorithm && value !== undefined ? { algorithm, type: target.checksumType, value } : null,
          unused: { files: upload.parts.size, bytes: chargedBytes(upload) - blob.bytes },
        }
      } catch (error) {
        keep(uploadId, upload)
        throw error
      }
    },

    abort,
  }
}
