/** Programs of Debian's packages for runtimes that the managed base image hasn't: unpacked, and run in a place of their own. */
import { mkdir, readdir, readlink, rm, stat, symlink } from "node:fs/promises"
import { dirname, join } from "node:path"
import { runCommand, type CommandOptions } from "../../src/command.ts"
import { installPackages, type Debian } from "../packages.ts"

/** Where a runtime is made. */
export interface DebianGround {
  /** The unpacked packages. */
  readonly tree: string
  /** The language's own directory, from the root of the tree. */
  readonly home: string
  /** What becomes `/var/runtime` and `/var/lang`. */
  readonly runtime: string
  readonly lang: string
}

/** What of a language is made by its own programs. */
export interface Finishing {
  /** The files of ours that it is made of. */
  sources(): Promise<readonly URL[]>
  finish(ground: DebianGround, signal: AbortSignal): Promise<void>
}

const OPTIONS = [
  "--aptopt=Apt::Install-Recommends false",
  "--dpkgopt=path-exclude=/usr/share/man/*",
  "--dpkgopt=path-exclude=/usr/share/doc/*",
  "--dpkgopt=path-exclude=/usr/share/locale/*",
]
/** Where a system has them since there is one place for all: no package that is only unpacked makes them. */
const LINKS = ["bin", "lib", "lib64", "sbin"]

/** Unpacks the packages and what they depend on in a new directory. */
export const unpackPackages = async (
  debian: Debian,
  packages: readonly string[],
  tree: string,
  signal: AbortSignal,
): Promise<void> => {
  await installPackages(debian, "extract", packages, tree, OPTIONS, signal)
  for (const name of LINKS) await symlink(`usr/${name}`, join(tree, name)).catch(unlessThere)
  await mkdir(join(tree, "proc"), { recursive: true })
}

/** Runs a program of the tree, which finds nothing but the tree. */
export const runIn = (tree: string, argv: readonly string[], options: CommandOptions): Promise<string> =>
  runCommand(
    "unshare",
    ["--mount", "--pid", "--fork", "--kill-child", `--root=${tree}`, "--mount-proc=/proc", ...argv],
    options,
  )

/** Copies a file or a directory of the tree to `to`, as it is; what it links to elsewhere in the tree is copied in the link's place. */
export const copyFrom = async (tree: string, from: string, to: string, signal: AbortSignal): Promise<void> => {
  await mkdir(dirname(to), { recursive: true })
  await copy(join(tree, from), to, signal)
  if ((await stat(to)).isDirectory()) await resolveLinks(tree, to, signal)
}

const resolveLinks = async (tree: string, directory: string, signal: AbortSignal) => {
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const place = join(entry.parentPath, entry.name)
    const target = entry.isSymbolicLink() ? await readlink(place) : ""
    if (!target.startsWith("/")) continue
    await rm(place)
    const found = await stat(join(tree, target)).catch(() => undefined)
    if (found !== undefined) await copy(join(tree, target), place, signal)
  }
}

/** With its times, which some programs compare. */
const copy = (from: string, to: string, signal: AbortSignal) =>
  runCommand("cp", ["-a", "-H", "-T", from, to], { signal })

const unlessThere = (error: NodeJS.ErrnoException) => {
  if (error.code !== "EEXIST") throw error
}
