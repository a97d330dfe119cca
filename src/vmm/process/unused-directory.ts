import { readdir, rmdir } from "node:fs/promises"

const IN_USE_OR_GONE = new Set(["ENOENT", "EBUSY", "ENOTEMPTY"])

/** Removes a directory or a control group that nothing is in; leaves one that is used. */
export const removeUnused = async (path: string): Promise<void> => {
  await rmdir(path).catch((error: NodeJS.ErrnoException) => {
    if (!IN_USE_OR_GONE.has(error.code ?? "")) throw error
  })
}

/** The directories in one; none where it isn't there. */
export const namesIn = async (path: string): Promise<string[]> => {
  const entries = await readdir(path, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error
    return []
  })
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
}
