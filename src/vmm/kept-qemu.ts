/**
 * The QEMU that makes and loads a base: a base is loaded by the very build that wrote it, and an operator may upgrade QEMU any day.
 * So nothing runs the installed one. It is copied, and runs from the copy: a boot from the data directory's, which an upgrade half-way
 * doesn't touch, and a launch from its base's, which are hard links to the same files. All VMs of a build share one page cache, and
 * the file system counts the users: a build is gone with the last base that was made with it.
 *
 * Kept are the executable, the firmware of `-M microvm`, and the accelerators, which some distributions build as modules that load
 * into their own build alone. The system's shared libraries are not: within a release of a distribution their sonames stay. A QEMU
 * that they left behind all the same says so when it starts, and that is the reason that the launch is refused with.
 */
import { createHash, randomUUID } from "node:crypto"
import { chmod, constants, copyFile, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { findProgram, runCommand } from "../command.ts"
import { messageOf, OperatorError } from "../errors.ts"
import { linkOrCopy } from "../link-or-copy.ts"
import { QEMU } from "./process/command-line.ts"
import { qemuVersion } from "./host/host-facts.ts"
import { digestOf, SnapshotRefused, type KeptQemu } from "./manifest.ts"

/** What `-M microvm` loads, with a kernel and without; the last is read where ACPI is off. */
const FIRMWARE = ["bios-microvm.bin", "linuxboot_dma.bin", "qboot.rom"]
/** Where Debian and Ubuntu put modules, seen from the executable. */
const MODULES = "../lib/x86_64-linux-gnu/qemu"
const ACCELERATOR = /^accel-(tcg|kvm)-x86_64\.so$/

/** A build that is kept: its files, and the directory that they are in. */
export interface QemuBuild extends KeptQemu {
  readonly directory: string
}

/** The file to run, and what tells it to take firmware and modules from beside itself. */
export const programOf = (directory: string) => ({
  program: [join(directory, QEMU), "-L", directory],
  environment: { QEMU_MODULE_DIR: directory },
})

/**
 * Answers the build that is installed now, kept in `directory`; `executable` is the one on this host's PATH where none is named. One
 * that was replaced since is kept on until this process ends: a guest that it booted may still become a base. The caller is the only
 * process that uses the directory.
 */
export const openInstalledQemu = (
  directory: string,
  executable?: string,
): ((signal: AbortSignal) => Promise<QemuBuild>) => {
  let current: { readonly sources: readonly string[]; readonly seen: string; readonly build: QemuBuild } | undefined
  const keepNow = async (signal: AbortSignal): Promise<QemuBuild> => {
    if (current !== undefined && (await keysOf(current.sources).catch(() => "")) === current.seen) return current.build
    const sources = await sourcesOf(executable ?? (await findProgram(QEMU)), signal)
    const seen = await keysOf(sources)
    const files = await digestsOf(sources)
    const id = createHash("sha256").update(JSON.stringify(files)).digest("hex").slice(0, 16)
    // What a killed daemon didn't finish, and builds before this one: bases have links of their own.
    if (current === undefined) await removeOthers(directory, id)
    const kept = join(directory, id)
    if ((await firstAltered(kept, files)) !== undefined) await copy(sources, files, kept)
    current = { sources, seen, build: { directory: kept, version: await versionOf(kept, signal), files } }
    return current.build
  }
  // One after the other: the second of two finds what the first has kept.
  let turn: Promise<unknown> = Promise.resolve()
  return (signal) => {
    const mine = turn.then(() => keepNow(signal))
    turn = mine.catch(() => {})
    return mine
  }
}

/** Gives a base the build's files, as links where both are on one file system, on disk for good when it resolves; `to` is made, beside the base's other files. */
export const linkQemu = async ({ directory, files }: QemuBuild, to: string): Promise<void> => {
  await mkdir(to, { mode: 0o755 })
  await Promise.all(Object.keys(files).map((name) => linkOrCopy(join(directory, name), join(to, name))))
  for (const path of [...Object.keys(files).map((name) => join(to, name)), to]) {
    await using handle = await open(path, "r")
    await handle.sync()
  }
}

/** Throws {@link SnapshotRefused} unless a base's QEMU is what its manifest says. A file is read once per daemon, whatever base it is linked to. */
export const verifyQemu = async (directory: string, { version, files }: KeptQemu): Promise<void> => {
  const altered = await firstAltered(directory, files)
  if (altered !== undefined)
    throw new SnapshotRefused(
      `The QEMU that the base was made with (${version}) was kept with it, and its ${altered} is altered or missing: build the image again`,
    )
}

/** What the dynamic linker says when a system library has gone or changed. */
const LEFT_BEHIND = /error while loading shared libraries|symbol lookup error|version `[^']*' not found/

/** Rejects with why a base's QEMU did not start: with an error of its own where it cannot start on this system any more. */
export const failStart =
  ({ version }: KeptQemu) =>
  (failure: unknown): never => {
    if (!LEFT_BEHIND.test(messageOf(failure))) throw failure
    throw new SnapshotRefused(
      `The QEMU that the base was made with (${version}) cannot start on this system any more: install what it misses, or build the image again. ${messageOf(failure)}`,
      { cause: failure },
    )
  }

/** The files of a build, where they are installed. */
const sourcesOf = async (executable: string, signal: AbortSignal): Promise<string[]> => {
  const data = (await runCommand(executable, ["-L", "help"], { signal })).trim().split("\n")
  const firmware = await Promise.all(FIRMWARE.map((name) => firstOf(data.map((directory) => join(directory, name)))))
  const modules = join(dirname(executable), MODULES)
  const accelerators = (await readdir(modules).catch(() => [])).filter((name) => ACCELERATOR.test(name))
  return [executable, ...firmware.flat(), ...accelerators.map((name) => join(modules, name))]
}

/** As QEMU searches: the first that is there. */
const firstOf = async (paths: readonly string[]): Promise<string[]> => {
  for (const path of paths) if ((await stat(path).catch(() => undefined))?.isFile()) return [path]
  return []
}

const nameOf = (source: string, index: number) => (index === 0 ? QEMU : basename(source))

const digestsOf = async (sources: readonly string[]): Promise<Record<string, string>> =>
  Object.fromEntries(
    await Promise.all(sources.map(async (path, index) => [nameOf(path, index), await digestOf(path)] as const)),
  )

/** Written beside and renamed: what is there under its name is whole. */
const copy = async (sources: readonly string[], files: KeptQemu["files"], kept: string): Promise<void> => {
  const unfinished = join(dirname(kept), `unfinished-${randomUUID()}`)
  await mkdir(unfinished, { recursive: true, mode: 0o755 })
  try {
    await Promise.all(
      sources.map(async (source, index) => {
        const file = join(unfinished, nameOf(source, index))
        await copyFile(source, file, constants.COPYFILE_FICLONE)
        await chmod(file, index === 0 ? 0o555 : 0o444)
      }),
    )
    if ((await firstAltered(unfinished, files)) !== undefined)
      throw new Error("QEMU was replaced while it was copied: an upgrade is under way")
    await rm(kept, { recursive: true, force: true })
    await rename(unfinished, kept)
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
}

const removeOthers = async (directory: string, id: string) => {
  for (const name of await readdir(directory).catch(() => []))
    if (name !== id) await rm(join(directory, name), { recursive: true, force: true })
}

const versionOf = async (directory: string, signal: AbortSignal): Promise<string> => {
  try {
    return await qemuVersion(signal, join(directory, QEMU))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EACCES") throw error
    throw new OperatorError(`${directory} is on a file system that is mounted noexec, and QEMU is run from there.`)
  }
}

/** Files that were read whole since this process began. A link to a file changes its ctime, and is no change of the file. */
const verified = new Set<string>()

const keyOf = async (path: string) => {
  const { dev, ino, size, mtimeMs } = await stat(path)
  return [dev, ino, size, mtimeMs].join()
}

const keysOf = async (paths: readonly string[]) => (await Promise.all(paths.map(keyOf))).join("\n")

/** The name of a file that is not what it was, if there is one. */
const firstAltered = async (directory: string, files: KeptQemu["files"]): Promise<string | undefined> => {
  const whole = await Promise.all(
    Object.entries(files).map(async ([name, digest]) => {
      const path = join(directory, name)
      const key = await keyOf(path).then(
        (file) => `${file},${digest}`,
        () => undefined,
      )
      if (key === undefined) return false
      if (verified.has(key)) return true
      if ((await digestOf(path).catch(() => "")) !== digest) return false
      verified.add(key)
      return true
    }),
  )
  return Object.keys(files)[whole.indexOf(false)]
}
