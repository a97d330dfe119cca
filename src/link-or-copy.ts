import { constants, copyFile, link } from "node:fs/promises"

/** A second name of a file, or where that would be on another file system, a copy of it. */
export const linkOrCopy = async (from: string, to: string): Promise<void> => {
  await link(from, to).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "EXDEV") throw error
    await copyFile(from, to, constants.COPYFILE_FICLONE)
  })
}
