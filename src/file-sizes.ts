import { lstat, readdir } from "node:fs/promises"
import { join } from "node:path"

/** The bytes that each file below a directory takes on the disk, by its path relative to it. Empty when there is no such directory; files that are removed meanwhile are left out. */
export const fileSizes = async (root: string): Promise<Map<string, number>> => {
  const entries = await readdir(root, { recursive: true }).catch(nothingThere)
  const files = new Map<string, number>()
  for (const name of entries ?? []) {
    const stats = await lstat(join(root, name)).catch(nothingThere)
    if (stats?.isFile() === true) files.set(name, stats.blocks * 512)
  }
  return files
}

const nothingThere = (error: NodeJS.ErrnoException): undefined => {
  if (error.code !== "ENOENT") throw error
}

/** Of many, all together. */
export const sumOf = (sizes: Iterable<number>): number => [...sizes].reduce((sum, bytes) => sum + bytes, 0)
