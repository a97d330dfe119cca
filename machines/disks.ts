/**
 * Where disks are. What is stored names a place and a path in it (`cache:artifacts/…`, `data:layers/…`), never a path of this machine:
 * both directories may be moved.
 */
import { existsSync } from "node:fs"
import { join, relative } from "node:path"
import { conflict } from "../src/errors.ts"
import type { DriveFile } from "../src/vmm/vmm.ts"

export interface Places {
  readonly cacheDirectory: string
  readonly dataDirectory: string
}

/** The stored form of a path inside one of the two places. */
export const toPlace = ({ cacheDirectory, dataDirectory }: Places, path: string): string => {
  const inData = relative(dataDirectory, path)
  if (!inData.startsWith("..")) return `data:${inData}`
  const inCache = relative(cacheDirectory, path)
  if (!inCache.startsWith("..")) return `cache:${inCache}`
  throw new Error(`${path} is in neither the data directory nor the cache`)
}

/** The path of a stored place. */
export const fromPlace = ({ cacheDirectory, dataDirectory }: Places, place: string): string => {
  const [kind, path] = [place.slice(0, place.indexOf(":")), place.slice(place.indexOf(":") + 1)]
  return join(kind === "cache" ? cacheDirectory : dataDirectory, path)
}

/** The disks of a base as its row has them. */
interface BaseDisks {
  readonly systemDisk: string
  readonly rootDisk: readonly string[]
}

/** Refuses a base with a disk that is gone, as where somebody has emptied the cache: one that is made anew has other blocks. */
export const refuseLostDisk = (places: Places, { systemDisk, rootDisk }: BaseDisks): void => {
  const lost = [systemDisk, ...rootDisk].find((place) => !existsSync(fromPlace(places, place)))
  if (lost !== undefined)
    throw conflict(
      `The image's version stands on a disk that is gone from this host (${lost}): build another version of the image`,
    )
}

/** Whether a path is one below a directory. */
export const isIn = (directory: string, path: string): boolean => path.startsWith(`${directory}/`)

/** A disk's file as a drive's file; its format is said by its name, which only we give. */
export const toDriveFile = (path: string): DriveFile => ({ path, format: path.endsWith(".qcow2") ? "qcow2" : "raw" })

/** Files of one VM, by number. */
export const vmFiles = (directory: string) => ({
  overlay: (generation: number) => join(directory, "disk", `${generation}.qcow2`),
  delta: (incarnation: number) => ({
    file: join(directory, `delta-${incarnation}`),
    state: join(directory, `state-${incarnation}`),
    incarnation,
  }),
})
