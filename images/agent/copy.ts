/** COPY and ADD, as Docker does them: into the image, links kept as links, owners and modes as the instruction says. */
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
import { parseFileMode, type FileMode } from "../file-mode.ts"
import { IMAGE_ROOT, makeDirectory, resolveInImage } from "./image-root.ts"
import { createExclusion, type Exclusion } from "./exclusion.ts"
import { findSources } from "./sources.ts"
import { isArchive, unpackArchive } from "./unpack.ts"
import { findUser } from "./user.ts"

/** Who owns what is copied, and its mode when it isn't the source's own. */
interface Rights {
  readonly uid: number
  readonly gid: number
  readonly mode: FileMode | null
}

interface Copying {
  readonly rights: Rights
  readonly isExcluded: Exclusion
  readonly root: string
}

/** Copies every source below `from`; throws with the path when one is missing or is no file, directory or link. */
export const copyIntoImage = async (spec: CopySpec, from: string, root = IMAGE_ROOT): Promise<void> => {
  const { uid, gid } = await findUser(spec.owner ?? "0:0", root)
  const mode = spec.mode === null ? null : (parseFileMode(spec.mode) ?? null)
  const copying = {
    rights: { uid, gid: spec.owner === null ? 0 : gid, mode },
    isExcluded: createExclusion(spec.exclude),
    root,
  }
  const sources = await findSources(spec, from)
  if (spec.replacesLinks) await replaceLinks(spec.destination, root)
  const target = resolveInImage(spec.destination, root)
  const intoDirectory =
    spec.keepsParents ||
    spec.destination.endsWith("/") ||
    sources.length + spec.inline.length > 1 ||
    ((await lstat(target).catch(() => undefined))?.isDirectory() ?? false)
  for (const { path, kept } of sources) {
    const source = resolveInImage(path, from)
    const found = await lstat(source).catch(() => undefined)
    if (found === undefined) throw new Error(`"${path}" is not ${spec.where}`)
    const destination = join(spec.destination, spec.keepsParents ? dirname(kept) : "")
    if (found.isDirectory()) {
      const to = spec.keepsParents ? join(spec.destination, kept) : spec.destination
      await copyTree(source, await makeOwned(to, copying), path, "", copying)
    } else if (!copying.isExcluded(path, basename(path))) {
      if (spec.unpacks && found.isFile() && (await isArchive(source))) {
        await unpackArchive(source, await makeOwned(destination, copying), spec.owner === null ? null : { uid, gid })
        continue
      }
      const to = intoDirectory ? join(destination, basename(path)) : spec.destination
      await makeOwned(dirname(to), copying)
      await copyEntry(source, resolveInImage(to, root), path, "", copying)
    }
  }
  for (const { name, content } of spec.inline) {
    const to = intoDirectory ? join(spec.destination, name) : spec.destination
    await makeOwned(dirname(to), copying)
    await putFile(content, resolveInImage(to, root), copying)
  }
}

/** The path has no link in it afterwards; what is made of it is made where it says. */
const replaceLinks = async (path: string, root: string): Promise<void> => {
  let at = root
  for (const part of path.split("/").filter(Boolean)) {
    at = join(at, part)
    if ((await lstat(at).catch(() => undefined))?.isSymbolicLink()) await rm(at)
  }
}

const makeOwned = (path: string, { rights, root }: Copying) => makeDirectory(path, rights.uid, rights.gid, root)

const putFile = async (content: string, to: string, { rights, root }: Copying): Promise<void> => {
  await makeWay(to, root)
  await writeFile(to, content, { flag: "wx" })
  await setRights(to, 0o644, false, rights)
}

/** Nothing is there afterwards. */
const makeWay = async (to: string, root: string): Promise<void> => {
  const there = await lstat(to).catch(() => undefined)
  if (there?.isDirectory()) throw new Error(`cannot replace the directory ${to.slice(root.length)} with a file`)
  if (there !== undefined) await rm(to)
}

/** `path` is where it is below the sources' root, `inside` where below the source that was named. */
const copyTree = async (from: string, to: string, path: string, inside: string, copying: Copying) => {
  for (const name of await readdir(from))
    await copyEntry(join(from, name), join(to, name), join(path, name), join(inside, name), copying)
}

const copyEntry = async (from: string, to: string, path: string, inside: string, copying: Copying): Promise<void> => {
  const { rights, root, isExcluded } = copying
  if (inside !== "" && isExcluded(path, inside)) return
  const source = await lstat(from)
  const there = await lstat(to).catch(() => undefined)
  if (source.isDirectory()) {
    // A link to a directory stays one, and is followed inside the image.
    const directory = there?.isSymbolicLink() ? resolveInImage(to.slice(root.length), root) : to
    if (there !== undefined && !(await lstat(directory)).isDirectory())
      throw new Error(`cannot copy to non-directory: ${to.slice(root.length)}`)
    if (there === undefined) await mkdir(directory)
    await copyTree(from, directory, path, inside, copying)
    await setRights(directory, source.mode, true, rights)
    return
  }
  await makeWay(to, root)
  if (source.isSymbolicLink()) {
    await symlink(await readlink(from), to)
    await lchown(to, rights.uid, rights.gid)
    return
  }
  if (!source.isFile()) throw new Error(`${path} is neither a file nor a directory nor a link`)
  await copyFile(from, to)
  await setRights(to, source.mode, false, rights)
  await utimes(to, source.atime, source.mtime)
}

const setRights = async (path: string, mode: number, isDirectory: boolean, rights: Rights) => {
  await lchown(path, rights.uid, rights.gid)
  await chmod(path, rights.mode === null ? mode & 0o7777 : rights.mode(mode & 0o7777, isDirectory))
}
