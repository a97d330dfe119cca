import { mkdir, stat } from "node:fs/promises"
import { dirname } from "node:path"

/**
 * Makes a directory and those above it, with this mode where they aren't there. Rejects with the first that cannot be made, or that is no directory;
 * the recursive `mkdir` of Node 24 never comes to an end where a directory that is there answers ENOENT, as /proc does.
 */
export const makeDirectories = async (path: string, mode: number): Promise<void> => {
  try {
    await mkdir(path, { mode })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === "EEXIST" && (await stat(path)).isDirectory()) return
    if (code !== "ENOENT" || dirname(path) === path) throw error
    await makeDirectories(dirname(path), mode)
    await mkdir(path, { mode }).catch((again: NodeJS.ErrnoException) => {
      // Another has made it meanwhile.
      if (again.code !== "EEXIST") throw again
    })
  }
}
