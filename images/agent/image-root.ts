import { lstatSync, readlinkSync } from "node:fs"
import { lstat, mkdir, chown } from "node:fs/promises"
import { join } from "node:path"

/** Where the image's root file system is mounted in the guest. */
export const IMAGE_ROOT = "/image"
const MAX_LINKS = 40

/**
 * The real path of `path` inside the image: links are followed as if the image's root were `/`, so none of them leaves it.
 * The last part may not exist yet. Nothing else writes to the image while a step copies. At once: each link that another thread looked
 * at would cost an emulated processor more than all of them.
 */
export const resolveInImage = (path: string, root = IMAGE_ROOT): string => {
  const pending = path.split("/")
  const done: string[] = []
  for (let links = 0; pending.length > 0;) {
    const part = pending.shift()
    if (part === undefined || part === "" || part === ".") continue
    if (part === "..") {
      done.pop()
      continue
    }
    const target = linkAt(join(root, ...done, part))
    if (target === undefined) done.push(part)
    else {
      if (++links > MAX_LINKS) throw new Error(`Too many links on the way to ${path}`)
      if (target.startsWith("/")) done.length = 0
      pending.unshift(...target.split("/"))
    }
  }
  return join(root, ...done)
}

/** What it leads to; `undefined` of what is no link, or not there. Asked first: an error costs an emulated processor many times that. */
const linkAt = (path: string): string | undefined => {
  try {
    return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true ? readlinkSync(path) : undefined
  } catch {
    return undefined
  }
}

/** Makes a directory and those above it in the image; what is made belongs to `uid`:`gid`. */
export const makeDirectory = async (path: string, uid: number, gid: number, root = IMAGE_ROOT): Promise<string> => {
  const resolved = resolveInImage(path, root)
  let above = root
  for (const part of resolved.slice(root.length).split("/").filter(Boolean)) {
    above = join(above, part)
    const found = await lstat(above).catch(() => undefined)
    if (found?.isDirectory()) continue
    if (found !== undefined) throw new Error(`${above.slice(root.length)} is not a directory`)
    await mkdir(above, { mode: 0o755 })
    await chown(above, uid, gid)
  }
  return resolved
}
