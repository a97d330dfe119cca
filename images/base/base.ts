import { createRequire } from "node:module"
import { cp, mkdir, rm, symlink } from "node:fs/promises"
import { dirname, join } from "node:path"
import { readSources, type Recipe } from "../artifact.ts"
import { makeExt4 } from "../ext4.ts"
import { nodeBinary } from "../node-binary.ts"
import { installPackages, type Debian } from "../packages.ts"

/** What an agent's code expects to find, kept to what 600 MB allow. */
const PACKAGES = [
  "ca-certificates",
  "curl",
  "file",
  "g++",
  "gcc",
  "git",
  "less",
  "libc6-dev",
  "make",
  "openssh-client",
  "patch",
  "procps",
  "python3",
  "python3-dev",
  "python3-pip",
  "python3-venv",
  "unzip",
  "xz-utils",
  "zip",
]

/**
 * What nobody's code needs at run time: texts for people, and of the compilers link-time optimisation, sanitizers, profilers
 * and Python as a static library. dpkg remembers it, so that a package installed later is as lean.
 */
const EXCLUDED = [
  "/usr/share/man/*",
  "/usr/share/doc/*",
  "/usr/share/locale/*",
  "/usr/share/info/*",
  "/usr/libexec/gcc/*/lto1",
  "/usr/bin/*-lto-dump-*",
  "/usr/lib/*/lib[ahlt]san.so*",
  "/usr/lib/*/libhwasan.so*",
  "/usr/lib/*/libubsan.so*",
  "/usr/lib/gcc/*san.a",
  "/usr/bin/*gp-*",
  "/usr/lib/*/libgprofng*",
  "/usr/lib/python3*/config-*/*.a",
  "/usr/lib/*/perl/*/CORE/*",
]

const OPTIONS = [
  "--aptopt=Apt::Install-Recommends false",
  ...EXCLUDED.map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
  "--dpkgopt=path-include=/usr/share/doc/*/copyright",
]

const EXT4 = new URL("../ext4.ts", import.meta.url)

/** The virtual size of every root disk. */
export const ROOT_DISK_MIB = 10 * 1024

/** `disk.raw`: the root file system of the managed image, Debian 13 with Node and Python. */
export const baseRecipe = async (debian: Debian): Promise<Recipe> => {
  const node = nodeBinary()
  const npm = createRequire(import.meta.url).resolve("npm/package.json")
  const { version } = createRequire(import.meta.url)("npm/package.json") as { version: string }
  return {
    kind: "base",
    ingredients: [
      JSON.stringify(debian),
      PACKAGES.join(),
      OPTIONS.join(),
      node.version,
      version,
      String(ROOT_DISK_MIB),
      ...(await readSources(EXT4)),
    ],
    async build(directory, signal) {
      const tree = join(directory, "tree")
      await installPackages(debian, "minbase", PACKAGES, tree, OPTIONS, signal)
      await cp(node.path, join(tree, "usr/local/bin/node"))
      const modules = join(tree, "usr/local/lib/node_modules")
      await mkdir(modules, { recursive: true })
      await cp(dirname(npm), join(modules, "npm"), { recursive: true })
      await symlink("../lib/node_modules/npm/bin/npm-cli.js", join(tree, "usr/local/bin/npm"))
      await symlink("../lib/node_modules/npm/bin/npx-cli.js", join(tree, "usr/local/bin/npx"))
      await rm(join(tree, "var/cache/apt/archives"), { recursive: true, force: true })
      await makeExt4(join(directory, "disk.raw"), { tree, sizeMiB: ROOT_DISK_MIB, label: "root" }, signal)
      await rm(tree, { recursive: true })
    },
  }
}
