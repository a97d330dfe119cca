/** This machine's own root file system with an overlay on it: what is changed there, installed or removed, is gone afterwards, and never was here. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { existsSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { runToEnd, type Ended } from "./torpor.ts"

const CHECKOUT = fileURLToPath(new URL("../../", import.meta.url)).replace(/\/$/, "")
/** What may lie on another file system than the root's, and is wanted as it is. */
const SHARED = ["/proc", "/sys", "/dev", CHECKOUT, process.env["TORPOR_CACHE_DIR"] ?? "/var/cache/torpor"]

// The upper part in memory: it can be no overlay itself, and in a container the disk is one. As large as set-up wants a disk to be.
const ENTER = `set -e
root=$1 shared=$2 script=$3; shift 3
mount -t tmpfs -o size=16g tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$root/root"
for path in $shared; do
  mkdir -p "$root/root$path"
  mount --rbind "$path" "$root/root$path"
done
mkdir -p "$root/root$root-files"
mount --bind "$root-files" "$root/root$root-files"
exec chroot "$root/root" sh -ec "$script" sh "$@"
`

export interface ScratchRoot extends AsyncDisposable {
  /** A directory that is seen in it under the same name. */
  readonly files: string
  /** Runs a shell script in a fresh overlay, the words as its arguments, without a network. */
  run(script: string, words: readonly string[], env: Readonly<Record<string, string>>): Promise<Ended>
}

export const makeScratchRoot = async (): Promise<ScratchRoot> => {
  const path = await mkdtemp(join(tmpdir(), "torpor-root-"))
  const files = `${path}-files`
  await mkdir(files)
  return {
    files,
    run: (script, words, env) =>
      runToEnd(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private"].concat(
          ["sh", "-c", ENTER, "sh", path, SHARED.filter((shared) => existsSync(shared)).join(" "), script],
          words,
        ),
        env,
      ),
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true })
      await rm(files, { recursive: true })
    },
  }
}

/** A package of Debian's format with nothing in it but its name and version, and the words of a script that runs when it is installed. */
export const makePackage = async (
  directory: string,
  { name, version, preinst = "" }: { name: string; version: string; preinst?: string },
): Promise<string> => {
  const tree = join(directory, `${name}_${version}`)
  await mkdir(join(tree, "DEBIAN"), { recursive: true })
  await writeFile(
    join(tree, "DEBIAN/control"),
    `Package: ${name}\nVersion: ${version}\nArchitecture: amd64\nMaintainer: nobody\nDescription: none\n`,
  )
  await writeFile(join(tree, "DEBIAN/preinst"), `#!/bin/sh\nset -e\n${preinst}\n`, { mode: 0o755 })
  const { code, stderr } = await runToEnd(["dpkg-deb", "--root-owner-group", "--build", tree, `${tree}.deb`], {
    PATH: process.env["PATH"] ?? "",
  })
  if (code !== 0) throw new Error(stderr)
  await rm(tree, { recursive: true })
  return `${tree}.deb`
}
