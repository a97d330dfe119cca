/** The disks that a runtime's VMs stand on: a root disk, and a drive with its `/var/runtime` and `/var/lang`. Made when they are first wanted. */
import { chmod, cp, mkdir, rename, rm, symlink, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { homedir } from "node:os"
import { basename, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { unlessAborted } from "../../src/abort.ts"
import { CommandError, runCommand } from "../../src/command.ts"
import { OperatorError } from "../../src/errors.ts"
import { ensureArtifact, findArtifact, readSources, type Artifact, type Progress, type Recipe } from "../artifact.ts"
import { DRIVE_MIB } from "../drive-size.ts"
import { baseRecipe } from "../base/base.ts"
import { makeExt4 } from "../ext4.ts"
import { nodeBinary } from "../node-binary.ts"
import type { Debian } from "../packages.ts"
import { copyFrom, unpackPackages, type Finishing } from "./debian.ts"
import type { RuntimeFile } from "./files.ts"
import { LANGUAGES, runtimeFiles } from "./languages.ts"
import { RUNTIMES, type Interpreter, type Runtime, type RuntimeName } from "./runtimes.ts"

export interface RuntimeDisks {
  readonly rootDisk: string
  readonly rootDiskHash: string
  /** A file system with {@link RUNTIME_PLACES}, of a drive's size; read-only. */
  readonly runtimeDisk: string
  readonly runtimeDiskHash: string
}

export interface RuntimeSource {
  readonly cacheDirectory: string
  readonly debian: Debian
  /** What npm is given. */
  readonly npmEnvironment: Readonly<Record<string, string>>
}

/** What of the drive is mounted where. */
export const RUNTIME_PLACES = { "/var/runtime": "/runtime", "/var/lang": "/lang" } as const

/** Where the functions of training are on it, as a function's code is on the disk of that. */
const TRAINING_PLACE = "/files"
const TRAINING = "training"

const SOURCES = [new URL("../ext4.ts", import.meta.url), new URL(import.meta.url)]

/**
 * The disks of a runtime, built into the cache if they aren't there yet, with a line of progress each; an unreachable mirror or registry
 * is an {@link OperatorError}.
 */
export const ensureRuntime = async (
  name: RuntimeName,
  { cacheDirectory, debian, npmEnvironment }: RuntimeSource,
  onProgress: Progress,
  signal: AbortSignal,
): Promise<RuntimeDisks> => {
  const root = await ensureArtifact(cacheDirectory, await baseRecipe(debian), onProgress, signal)
  const drive = await ensureArtifact(
    cacheDirectory,
    await driveRecipe(name, { debian, npmEnvironment }),
    onProgress,
    signal,
  )
  return toDisks(root, drive)
}

/** As {@link ensureRuntime}, of what is in the cache; nothing is built. */
export const findRuntime = async (
  name: RuntimeName,
  { cacheDirectory, debian, npmEnvironment }: RuntimeSource,
): Promise<RuntimeDisks | undefined> => {
  const root = await findArtifact(cacheDirectory, await baseRecipe(debian))
  const drive = await findArtifact(cacheDirectory, await driveRecipe(name, { debian, npmEnvironment }))
  return root === undefined || drive === undefined ? undefined : toDisks(root, drive)
}

const toDisks = (root: Artifact, drive: Artifact): RuntimeDisks => ({
  rootDisk: join(root.directory, "disk.raw"),
  rootDiskHash: root.hash,
  runtimeDisk: join(drive.directory, "drive.raw"),
  runtimeDiskHash: drive.hash,
})

export interface Runtimes extends AsyncDisposable {
  /** As {@link ensureRuntime}, but looked for once while this process lives; a build goes on when who asked for it has gone. */
  of(name: RuntimeName, signal: AbortSignal): Promise<RuntimeDisks>
}

/** Disposing ends what is at work. */
export const openRuntimes = (source: RuntimeSource, onProgress: Progress): Runtimes => {
  const closing = new AbortController()
  const known = new Map<RuntimeName, Promise<RuntimeDisks>>()
  return {
    of(name, signal) {
      const disks = known.get(name) ?? ensureRuntime(name, source, onProgress, closing.signal)
      known.set(name, disks)
      // Tried again by the next.
      disks.catch(() => known.delete(name))
      return unlessAborted(disks, signal)
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      await Promise.allSettled(known.values())
    },
  }
}

/** Runtimes that hold the same share one. */
const driveRecipe = async (name: RuntimeName, source: Omit<RuntimeSource, "cacheDirectory">): Promise<Recipe> => {
  const { language, interpreter }: Runtime = RUNTIMES[name]
  const files = await runtimeFiles(language)
  const { finishing } = LANGUAGES[language]
  const more =
    interpreter.kind === "npm"
      ? await readSources(lockOf(interpreter.folder))
      : interpreter.kind === "debian"
        ? [
            JSON.stringify(source.debian),
            ...(await readSources(new URL("debian.ts", import.meta.url), ...((await finishing?.sources()) ?? []))),
          ]
        : []
  return {
    kind: `runtime-${interpreter.kind === "npm" ? interpreter.folder : language}`,
    ingredients: [
      JSON.stringify(interpreter),
      ...more,
      ...files.flatMap(({ name: file, mode, content }) => [file, String(mode), content]),
      String(DRIVE_MIB),
      ...(await readSources(...SOURCES)),
    ],
    async build(directory, signal) {
      const tree = join(directory, "tree")
      const lang = join(tree, RUNTIME_PLACES["/var/lang"])
      const runtime = join(tree, RUNTIME_PLACES["/var/runtime"])
      await writeFiles(files, runtime)
      if (interpreter.kind === "debian")
        await installPackaged(interpreter, { directory, lang, runtime, finishing, debian: source.debian }, signal)
      else await install(interpreter, lang, directory, source.npmEnvironment, signal)
      await mkdir(join(runtime, TRAINING), { recursive: true })
      await rename(join(runtime, TRAINING), join(tree, TRAINING_PLACE))
      const drive = join(directory, "drive.raw")
      await makeExt4(drive, { tree, sizeMiB: DRIVE_MIB, label: "runtime" }, signal)
      await chmod(drive, 0o444)
      await rm(tree, { recursive: true })
    },
  }
}

const writeFiles = async (files: readonly RuntimeFile[], into: string): Promise<void> => {
  await mkdir(into, { recursive: true })
  for (const { name, content, mode } of files) {
    await mkdir(dirname(join(into, name)), { recursive: true })
    await writeFile(join(into, name), content)
    await chmod(join(into, name), mode)
  }
}

const installPackaged = async (
  { suite, packages, home, at, libraries }: Extract<Interpreter, { kind: "debian" }>,
  {
    directory,
    finishing,
    debian,
    ...places
  }: {
    readonly directory: string
    readonly lang: string
    readonly runtime: string
    readonly finishing: Finishing | undefined
    readonly debian: Debian
  },
  signal: AbortSignal,
): Promise<void> => {
  const tree = join(directory, "packages")
  await unpackPackages(suite === undefined ? debian : { ...debian, suite }, packages, tree, signal)
  await copyFrom(tree, home, join(places.lang, at), signal)
  for (const library of libraries) await copyFrom(tree, library, join(places.lang, "lib", basename(library)), signal)
  await finishing?.finish({ tree, home, ...places }, signal)
  await rm(tree, { recursive: true })
}

const install = async (
  interpreter: Exclude<Interpreter, { kind: "debian" }>,
  into: string,
  directory: string,
  npmEnvironment: RuntimeSource["npmEnvironment"],
  signal: AbortSignal,
): Promise<void> => {
  const programs = join(into, "bin")
  await mkdir(programs, { recursive: true })
  if (interpreter.kind === "root")
    for (const [name, target] of Object.entries(interpreter.links)) await symlink(target, join(programs, name))
  if (interpreter.kind !== "npm") return
  const workplace = join(directory, "npm")
  await mkdir(workplace)
  await fetchPackage(interpreter.folder, workplace, npmEnvironment, signal)
  await cp(join(workplace, "node_modules", interpreter.package, "bin/node"), join(programs, "node"))
  await rm(workplace, { recursive: true })
}

const lockOf = (folder: string) => new URL(`${folder}/package-lock.json`, import.meta.url)

/** What the lock says and nothing else; no script of a package runs. */
const fetchPackage = async (
  folder: string,
  into: string,
  env: RuntimeSource["npmEnvironment"],
  signal: AbortSignal,
): Promise<void> => {
  const lock = lockOf(folder)
  for (const file of [lock, new URL("package.json", lock)])
    await cp(fileURLToPath(file), join(into, fileURLToPath(file).split("/").at(-1) ?? ""))
  const npm = join(dirname(createRequire(import.meta.url).resolve("npm/package.json")), "bin/npm-cli.js")
  try {
    await runCommand(
      nodeBinary().path,
      [npm, "ci", "--prefix", into, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
      { signal, env: { HOME: homedir(), ...env } },
    )
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    throw new OperatorError(`The runtime of ${folder} could not be fetched from npm's registry: ${error.message}`)
  }
}
