import { createHash, randomUUID } from "node:crypto"
import { mkdir, open, readdir, readFile, rename, rm, type FileHandle } from "node:fs/promises"
import { join } from "node:path"
import { messageOf, OperatorError, ServiceError } from "../errors.ts"
import { compareKeys, placeOfKey } from "./key-order.ts"
import { createSerial } from "./serial.ts"
import type { StoredObject } from "./stored-object.ts"

/**
 * A bucket's directory: `objects/<sha256 of the key>.json` says what an object is and which file under `blobs/` holds its bytes.
 * A key is any text and never part of a path. The rename of the json file is what makes an object be; a blob that no json file
 * names is what a death left behind, and is removed when the bucket is opened.
 */
export interface Bucket {
  readonly name: string
  readonly createdAt: Date
  readonly objects: ReadonlyMap<string, StoredObject>
  /** Keys in S3's order, that of their UTF-8 bytes. */
  sortedKeys(): readonly string[]
  /** Makes a synced file the object's bytes. `ifAbsent` refuses when there is one already. Returns what it replaced. */
  commit(object: StoredObject, blobPath: string, ifAbsent: boolean): Promise<StoredObject | undefined>
  /** Removes an object; returns what was there. */
  remove(key: string): Promise<StoredObject | undefined>
  /** Opens an object's bytes as they are now, whatever happens to the key afterwards. The caller closes the file. */
  open(key: string): Promise<{ object: StoredObject; file: FileHandle }>
  /** Removes the bucket itself when it is empty. */
  destroy(): Promise<void>
}

interface ObjectRecord extends StoredObject {
  readonly blob: string
}

const fileNameOf = (key: string) => `${createHash("sha256").update(key).digest("hex")}.json`

const syncDirectory = async (path: string) => {
  await using directory = await open(path, "r")
  await directory.sync()
}

const writeSynced = async (path: string, text: string) => {
  await using file = await open(path, "wx", 0o600)
  await file.writeFile(text)
  await file.sync()
}

const noSuchKey = () => new ServiceError("NoSuchKey", 404, "The specified key does not exist.")

const readRecord = async (path: string): Promise<unknown> => {
  try {
    return JSON.parse(await readFile(path, "utf8"))
  } catch (error) {
    throw new OperatorError(
      `The artifact store's file ${path} cannot be read (${messageOf(error)}); restore it, or move it away.`,
    )
  }
}

const loadRecords = async (directory: string) => {
  const records = new Map<string, ObjectRecord>()
  for (const name of await readdir(join(directory, "objects"))) {
    const record = (await readRecord(join(directory, "objects", name))) as ObjectRecord
    records.set(record.key, { ...record, modifiedAt: new Date(record.modifiedAt) })
  }
  const used = new Set([...records.values()].map(({ blob }) => blob))
  for (const name of await readdir(join(directory, "blobs"))) {
    if (!used.has(name)) await rm(join(directory, "blobs", name))
  }
  return records
}

/** Makes an empty bucket's directory, whole or not at all. */
export const createBucketDirectory = async (directory: string, temporary: string): Promise<void> => {
  const draft = join(temporary, randomUUID())
  await mkdir(join(draft, "objects"), { recursive: true, mode: 0o700 })
  await mkdir(join(draft, "blobs"), { mode: 0o700 })
  await writeSynced(join(draft, "bucket.json"), JSON.stringify({ createdAt: new Date() }))
  await syncDirectory(draft)
  await rename(draft, directory)
  // The account's own directory may be new too.
  await syncDirectory(join(directory, ".."))
  await syncDirectory(join(directory, "..", ".."))
}

/** Opens a bucket's directory. `temporary` is on the same file system; one process alone may have it open. */
export const openBucket = async (name: string, directory: string, temporary: string): Promise<Bucket> => {
  const { createdAt } = (await readRecord(join(directory, "bucket.json"))) as { createdAt: string }
  const records = await loadRecords(directory)
  const serially = createSerial()
  let sorted: string[] | undefined
  let gone = false

  const blobPath = (record: ObjectRecord) => join(directory, "blobs", record.blob)

  const commit = async (object: StoredObject, from: string, ifAbsent: boolean) => {
    if (gone) throw new ServiceError("NoSuchBucket", 404, "The specified bucket does not exist")
    const replaced = records.get(object.key)
    if (ifAbsent && replaced) {
      throw new ServiceError("PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold")
    }
    const record: ObjectRecord = { ...object, blob: randomUUID() }
    const draft = join(temporary, randomUUID())
    try {
      await rename(from, blobPath(record))
      await syncDirectory(join(directory, "blobs"))
      await writeSynced(draft, JSON.stringify(record))
      await rename(draft, join(directory, "objects", fileNameOf(object.key)))
    } catch (error) {
      await Promise.all([blobPath(record), draft].map((path) => rm(path, { force: true })))
      throw error
    }
    await syncDirectory(join(directory, "objects"))
    records.set(object.key, record)
    if (replaced === undefined) sorted?.splice(placeOfKey(sorted, object.key), 0, object.key)
    if (replaced) await rm(blobPath(replaced), { force: true })
    return replaced
  }

  const remove = async (key: string) => {
    const record = records.get(key)
    if (!record) return undefined
    await rm(join(directory, "objects", fileNameOf(key)))
    records.delete(key)
    sorted?.splice(placeOfKey(sorted, key), 1)
    await rm(blobPath(record), { force: true })
    return record
  }

  const destroy = async () => {
    if (records.size > 0) throw new ServiceError("BucketNotEmpty", 409, "The bucket you tried to delete is not empty")
    gone = true
    const doomed = join(temporary, randomUUID())
    await rename(directory, doomed)
    await rm(doomed, { recursive: true, force: true })
  }

  return {
    name,
    createdAt: new Date(createdAt),
    objects: records,
    sortedKeys: () => (sorted ??= [...records.keys()].toSorted(compareKeys)),
    commit: (object, from, ifAbsent) => serially(() => commit(object, from, ifAbsent)),
    remove: (key) => serially(() => remove(key)),
    destroy: () => serially(destroy),
    open: (key) =>
      serially(async () => {
        const record = records.get(key)
        if (!record) throw noSuchKey()
        const { blob: _blob, ...object } = record
        return { object, file: await open(blobPath(record), "r") }
      }),
  }
}
