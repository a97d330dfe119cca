/** COPY, as Docker does it: from the context into the image, links kept as links, owners and modes as the instruction says. */
import {
  chmod,
  copyFile,
  lstat,
  lchown,
  mkdir,
  readdir,
  readlink,
  rm,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import type { CopySpec } from "../../src/agent/protocol.ts"
import { CONTEXT } from "./context.ts"
import { IMAGE_ROOT, makeDirectory, resolveInImage } from "./image-root.ts"
import { findUser } from "./user.ts"

interface Rights {
  readonly uid: number
  readonly gid: number
  readonly mode: number | null
}

/** Copies every source; throws with the path when one is missing or is no file, directory or link. */
export const copyIntoImage = async (spec: CopySpec, context = CONTEXT, root = IMAGE_ROOT): Promise<void> => {
  const { uid, gid } = await findUser(spec.owner ?? "0:0", root)
  const rights = { uid, gid: spec.owner === null ? 0 : gid, mode: spec.mode }
  const target = await resolveInImage(spec.destination, root)
  const intoDirectory =
    spec.destination.endsWith("/") ||
    spec.sources.length + spec.inline.length > 1 ||
    ((await lstat(target).catch(() => undefined))?.isDirectory() ?? false)
  for (const source of spec.sources) {
    const from = await resolveInImage(source, context)
    const found = await lstat(from).catch(() => undefined)
    if (found === undefined) throw new Error(`"${source}" is not in the build context`)
    if (found.isDirectory()) {
      await copyTree(from, await makeDirectory(spec.destination, rights.uid, rights.gid, root), rights, root)
    } else {
      const to = intoDirectory ? join(spec.destination, basename(source)) : spec.destination
      await makeDirectory(dirname(to), rights.uid, rights.gid, root)
      await copyEntry(from, await resolveInImage(to, root), rights, root)
    }
  }
  for (const { name, content } of spec.inline) {
    const to = intoDirectory ? join(spec.destination, name) : spec.destination
    await makeDirectory(dirname(to), rights.uid, rights.gid, root)
    await putFile(content, await resolveInImage(to, root), rights, root)
  }
}

const putFile = async (content: string, to: string, rights: Rights, root: string): Promise<void> => {
  await makeWay(to, root)
  await writeFile(to, content, { flag: "wx" })
  await setRights(to, 0o644, rights)
}

/** Nothing is there afterwards. */
const makeWay = async (to: string, root: string): Promise<void> => {
  const there = await lstat(to).catch(() => undefined)
  if (there?.isDirectory()) throw new Error(`cannot replace the directory ${to.slice(root.length)} with a file`)
  if (there !== undefined) await rm(to)
}

const copyTree = async (from: string, to: string, rights: Rights, root: string) => {
  for (const name of await readdir(from)) await copyEntry(join(from, name), join(to, name), rights, root)
}

const copyEntry = async (from: string, to: string, rights: Rights, root: string): Promise<void> => {
  const source = await lstat(from)
  const there = await lstat(to).catch(() => undefined)
  if (source.isDirectory()) {
    // A link to a directory stays one, and is followed inside the image.
    const directory = there?.isSymbolicLink() ? await resolveInImage(to.slice(root.length), root) : to
    if (there !== undefined && !(await lstat(directory)).isDirectory())
      throw new Error(`cannot copy to non-directory: ${to.slice(root.length)}`)
    if (there === undefined) await mkdir(directory)
    await copyTree(from, directory, rights, root)
    await setRights(directory, source.mode, rights)
    return
  }
  await makeWay(to, root)
  if (source.isSymbolicLink()) {
    await symlink(await readlink(from), to)
    await lchown(to, rights.uid, rights.gid)
    return
  }
  if (!source.isFile()) throw new Error(`${from} is neither a file nor a directory nor a link`)
  await copyFile(from, to)
  await setRights(to, source.mode, rights)
  await utimes(to, source.atime, source.mtime)
}

const setRights = async (path: string, mode: number, rights: Rights) => {
  await lchown(path, rights.uid, rights.gid)
  await chmod(path, rights.mode ?? mode & 0o7777)
}
