/**
 * A layer of an OCI image on the root file system: what it deletes first, then what it brings. It is its author's, as all in this guest
 * is: the unpacker works inside the image's root and follows no link out of it.
 * Format: https://github.com/opencontainers/image-spec/blob/main/layer.md
 */
import { spawn } from "node:child_process"
import { lstatSync } from "node:fs"
import { readdir, rm } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { createInterface } from "node:readline"
import { IMAGE_ROOT, resolveInImage } from "./image-root.ts"
import { run } from "./run.ts"

/** The name of what is deleted comes behind it; with the same once more, it is a sign. */
const WHITEOUT = ".wh."
const OPAQUE = ".wh..wh..opq"
/** More than any image has. */
const MAX_ENTRIES = 2_000_000

export interface LayerEntry {
  /** From the root, without a slash before it. */
  readonly path: string
  readonly type: string
}

/** Puts a layer on what is there. Throws when it is no archive. */
export const applyLayer = async (archive: string, isFirst: boolean, root = IMAGE_ROOT): Promise<void> => {
  // Nothing is below the first: it is unpacked without having been read before, often the largest by far.
  if (!isFirst) await makeWayFor(archive, root)
  // Its names are taken as they are inside of a root that is the image's; -p: with modes, attributes and capabilities.
  const options = ["-P", "-p", "--chroot", "--numeric-owner", "--exclude", `${WHITEOUT}*`]
  await run("bsdtar", ["-x", "-f", archive, "-C", root, ...options])
}

/** Throws when layers have brought a device, before anybody could open it. */
export const refuseDevices = async (root = IMAGE_ROOT): Promise<void> => {
  const [found] = (await run("find", [root, "-xdev", "(", "-type", "b", "-o", "-type", "c", ")"])).split("\n")
  if (found !== undefined && found !== "")
    throw new Error(`The image holds a device: ${found.slice(root.length, root.length + 200)}`)
}

/** Removes of the layers below what this one says is gone, or brings anew. */
const makeWayFor = async (archive: string, root: string): Promise<void> => {
  let entries = 0
  const below = openBelow(root)
  for await (const { path, type } of listLayer(archive)) {
    if (++entries > MAX_ENTRIES) throw new Error(`The layer has more than ${MAX_ENTRIES} entries`)
    await makeWay(path, type, below)
  }
}

/** What the layers below have made. */
interface Below {
  /** The real path of a directory. Most entries are in the directory of the one before: it is looked for once. */
  directory(path: string): Promise<string>
  remove(path: string): Promise<void>
}

const openBelow = (root: string): Below => {
  let last: { readonly path: string; readonly real: string } | undefined
  return {
    async directory(path) {
      if (last?.path !== path) last = { path, real: resolveInImage(path, root) }
      return last.real
    },
    async remove(path) {
      last = undefined
      await rm(path, { recursive: true, force: true })
    },
  }
}

/** Removes what a layer's entry says is gone, or is in its way. */
const makeWay = async (path: string, type: string, below: Below): Promise<void> => {
  const [name, parent] = [basename(path), dirname(path)]
  if (name === OPAQUE) {
    const directory = await below.directory(parent)
    for (const child of await readdir(directory).catch(() => [])) await below.remove(join(directory, child))
    return
  }
  if (name.startsWith(`${WHITEOUT}${WHITEOUT}`)) return
  if (name.startsWith(WHITEOUT)) {
    const hidden = name.slice(WHITEOUT.length)
    if (hidden === "" || hidden === "." || hidden === "..") throw new Error("The layer deletes what has no name")
    await below.remove(join(await below.directory(parent), hidden))
    return
  }
  const there = join(await below.directory(parent), name)
  // At once: asked for asynchronously, twenty thousand answers take a minute of an emulated processor.
  const found = lstatSync(there, { throwIfNoEntry: false })
  // A directory goes on with what is in it; anything else is replaced by the layer's.
  if (found !== undefined && path !== "." && !(type === "dir" && found.isDirectory())) await below.remove(there)
}

/** The entries of an archive, as the unpacker that will unpack it reads them. */
export async function* listLayer(archive: string): AsyncGenerator<LayerEntry> {
  const child = spawn("bsdtar", ["-c", "-f", "-", "--format=mtree", "--options=!all,type", `@${archive}`], {
    stdio: ["ignore", "pipe", "pipe"],
  })
  let words = ""
  child.stderr.setEncoding("utf8").on("data", (text: string) => (words = (words + text).slice(-1000)))
  const ended = new Promise<number | string | null>((resolve) => {
    child.once("close", (code, signal) => resolve(code ?? signal))
    child.once("error", (error) => resolve(error.message))
  })
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const [, name, type] = /^(\S+) .*?\btype=(\w+)/.exec(line) ?? []
      if (name === undefined || type === undefined) continue
      yield { path: toPath(name), type }
    }
    const code = await ended
    if (code !== 0) throw new Error(`The layer cannot be read: ${words.trim()} (${code})`)
  } finally {
    child.kill("SIGKILL")
  }
}

/** mtree writes what isn't plain as octal bytes. */
const toPath = (name: string): string => {
  const bytes = name.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
  const parts = Buffer.from(bytes, "latin1").toString("utf8").split("/")
  if (parts.includes("..")) throw new Error("The layer holds a name that leads above its root")
  return parts.filter((part) => part !== "" && part !== ".").join("/") || "."
}
