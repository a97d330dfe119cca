import { lstat, readdir } from "node:fs/promises"
import { join } from "node:path"

/** What the files below a directory take on the disk, in bytes, by their names relative to it; none when it isn't there. What goes meanwhile is left out. */
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
