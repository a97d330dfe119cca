import { randomUUID } from "node:crypto"
import { mkdir, readdir, rm, type FileHandle } from "node:fs/promises"
import { join } from "node:path"
import { ServiceError } from "../errors.ts"
import { writeBlob } from "./blob.ts"
import { createBucketDirectory, openBucket, type Bucket } from "./bucket.ts"
import type { ChecksumAlgorithm } from "./checksum.ts"
import { createQuota, type Quota } from "./quota.ts"
import { createSerial } from "./serial.ts"
import type { Expected, StoredObject } from "./stored-object.ts"
import { createUploads, type NamedPart, type Uploads, type WholeObject, type UploadTarget } from "./uploads.ts"

export interface ArtifactStoreLimits {
  readonly maxObjectBytes: number
  /** Of one account, uploads under way included. */
  readonly maxAccountBytes: number
  /** Of one account: objects, uploads under way, and parts of them. */
  readonly maxAccountFiles: number
  readonly maxBucketsPerAccount: number
  /** How long an upload may be under way. */
  readonly uploadMs: number
}

export const defaultStoreLimits: ArtifactStoreLimits = {
  maxObjectBytes: 5 * 1024 ** 3,
  maxAccountBytes: 100 * 1024 ** 3,
  maxAccountFiles: 100_000,
  maxBucketsPerAccount: 100,
  uploadMs: 24 * 3600_000,
}

export interface PutOptions {
  readonly headers: Readonly<Record<string, string>>
  readonly algorithm: ChecksumAlgorithm | undefined
  /** Asked once the body is read. */
  readonly expected: () => Expected
  /** Refuses to replace an object. */
  readonly ifAbsent: boolean
}

/**
 * Buckets and objects, each account's apart: a bucket of another account is as good as none.
 * Refusals are ServiceErrors with S3's codes. One process alone may have the directory open.
 */
export interface ArtifactStore {
  createBucket(account: string, name: string): Promise<void>
  /** Objects, uploads under way and parts of them, and their bytes, of each account that has had any. */
  usage(): ReadonlyMap<string, { readonly files: number; readonly bytes: number }>
  deleteBucket(account: string, name: string): Promise<void>
  buckets(account: string): Bucket[]
  /** Throws NoSuchBucket. */
  bucket(account: string, name: string): Bucket
  put(
    account: string,
    bucket: string,
    key: string,
    body: AsyncIterable<Uint8Array>,
    options: PutOptions,
    signal: AbortSignal,
  ): Promise<StoredObject>
  head(account: string, bucket: string, key: string): StoredObject
  /** The caller closes the file. */
  open(account: string, bucket: string, key: string): Promise<{ object: StoredObject; file: FileHandle }>
  delete(account: string, bucket: string, key: string): Promise<void>
  readonly uploads: Pick<Uploads, "find" | "putPart" | "abort">
  startUpload(target: UploadTarget): string
  completeUpload(
    at: Pick<UploadTarget, "account" | "bucket" | "key">,
    uploadId: string,
    named: readonly NamedPart[],
    asked: { readonly ifAbsent: boolean; readonly whole: WholeObject },
    signal: AbortSignal,
  ): Promise<StoredObject>
}

const noSuchBucket = () => new ServiceError("NoSuchBucket", 404, "The specified bucket does not exist")
const isBucketName = (name: string) => /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) && !name.includes("..")

const checkKey = (key: string) => {
  if (Buffer.byteLength(key) > 1024) throw new ServiceError("KeyTooLongError", 400, "Your key is too long")
}

/** Opens the store in a directory, which is made when it isn't there; what an earlier process left half-written is removed. */
export const openArtifactStore = async (
  directory: string,
  limits: ArtifactStoreLimits = defaultStoreLimits,
): Promise<ArtifactStore> => {
  const temporary = join(directory, "tmp")
  const accountsDirectory = join(directory, "accounts")
  await rm(temporary, { recursive: true, force: true })
  await mkdir(temporary, { recursive: true, mode: 0o700 })
  await mkdir(accountsDirectory, { recursive: true, mode: 0o700 })

  const accounts = new Map<string, { readonly buckets: Map<string, Bucket>; readonly quota: Quota }>()
  const serially = createSerial()
  const uploads = createUploads(temporary, limits)
  const quotaLimits = { maxBytes: limits.maxAccountBytes, maxFiles: limits.maxAccountFiles }

  const accountOf = (account: string) => {
    let known = accounts.get(account)
    if (!known) accounts.set(account, (known = { buckets: new Map(), quota: createQuota(quotaLimits) }))
    return known
  }
  const pathOf = (account: string, name: string) => {
    if (!/^[\w-]{1,64}$/.test(account) || !isBucketName(name)) {
      throw new ServiceError("InvalidBucketName", 400, "The specified bucket is not valid.")
    }
    return join(accountsDirectory, account, name)
  }
  const bucketOf = (account: string, name: string) => {
    const bucket = accounts.get(account)?.buckets.get(name)
    if (!bucket) throw noSuchBucket()
    return bucket
  }

  for (const account of await readdir(accountsDirectory)) {
    const { buckets, quota } = accountOf(account)
    for (const name of await readdir(join(accountsDirectory, account))) {
      const bucket = await openBucket(name, pathOf(account, name), temporary)
      buckets.set(name, bucket)
      for (const { bytes } of bucket.objects.values()) quota.charge(bytes)
    }
  }

  return {
    usage: () => new Map([...accounts].map(([account, { quota }]) => [account, quota.used])),
    createBucket: (account, name) =>
      serially(async () => {
        const { buckets } = accountOf(account)
        const path = pathOf(account, name)
        if (buckets.has(name)) {
          throw new ServiceError(
            "BucketAlreadyOwnedByYou",
            409,
            "Your previous request to create the named bucket succeeded and you already own it.",
          )
        }
        if (buckets.size >= limits.maxBucketsPerAccount) {
          throw new ServiceError("TooManyBuckets", 400, "You have attempted to create more buckets than allowed.")
        }
        await mkdir(join(accountsDirectory, account), { recursive: true, mode: 0o700 })
        await createBucketDirectory(path, temporary)
        buckets.set(name, await openBucket(name, path, temporary))
      }),

    deleteBucket: (account, name) =>
      serially(async () => {
        await bucketOf(account, name).destroy()
        accountOf(account).buckets.delete(name)
      }),

    buckets: (account) =>
      [...(accounts.get(account)?.buckets.values() ?? [])].toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    bucket: bucketOf,

    put: async (account, bucketName, key, body, { headers, algorithm, expected, ifAbsent }, signal) => {
      checkKey(key)
      const bucket = bucketOf(account, bucketName)
      const { quota } = accountOf(account)
      const blob = await writeBlob(
        join(temporary, randomUUID()),
        body,
        { maxBytes: limits.maxObjectBytes, algorithm, expected, quota },
        signal,
      )
      const checksum =
        algorithm && blob.checksum
          ? { algorithm, type: "FULL_OBJECT" as const, value: blob.checksum.toString("base64") }
          : null
      const object = {
        key,
        bytes: blob.bytes,
        etag: blob.md5.toString("hex"),
        modifiedAt: new Date(),
        headers,
        checksum,
      }
      await commit(bucket, object, blob.path, ifAbsent, quota)
      return object
    },

    head: (account, bucket, key) => {
      const object = bucketOf(account, bucket).objects.get(key)
      if (!object) throw new ServiceError("NoSuchKey", 404, "The specified key does not exist.")
      return object
    },
    open: async (account, bucket, key) => bucketOf(account, bucket).open(key),
    delete: async (account, bucket, key) => {
      const removed = await bucketOf(account, bucket).remove(key)
      if (removed) accountOf(account).quota.give(1, removed.bytes)
    },

    uploads,
    startUpload: (target) => {
      checkKey(target.key)
      bucketOf(target.account, target.bucket)
      return uploads.start(target, accountOf(target.account).quota)
    },
    completeUpload: async ({ account, bucket: bucketName, key }, uploadId, named, { ifAbsent, whole }, signal) => {
      const bucket = bucketOf(account, bucketName)
      const { quota } = accountOf(account)
      const { headers } = uploads.find(uploadId, account, bucketName, key)
      const { blob, etag, checksum, unused } = await uploads.assemble(uploadId, named, whole, signal)
      quota.give(unused.files, unused.bytes)
      const object = { key, bytes: blob.bytes, etag, modifiedAt: new Date(), headers, checksum }
      await commit(bucket, object, blob.path, ifAbsent, quota)
      return object
    },
  }
}

/** Commits, and settles the account: what was replaced is given back, and so is all of a file that nobody will know. */
const commit = async (bucket: Bucket, object: StoredObject, blobPath: string, ifAbsent: boolean, quota: Quota) => {
  try {
    const replaced = await bucket.commit(object, blobPath, ifAbsent)
    if (replaced) quota.give(1, replaced.bytes)
  } catch (error) {
    quota.give(1, object.bytes)
    await rm(blobPath, { force: true })
    throw error
  }
}
