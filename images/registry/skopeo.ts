/**
 * skopeo, which speaks to registries: as a user who is nobody else, without rights, in a directory of its own and with no other file of
 * this host in sight. Where it may connect to is decided by that user's id (src/net/fetch-rules.ts).
 */
import { chown, lstat, mkdir, readdir, realpath, rm } from "node:fs/promises"
import { join } from "node:path"
import { randomUUID } from "node:crypto"
import { CommandError, runCommand } from "../../src/command.ts"
import { asUnprivileged } from "../../src/unprivileged.ts"
import { wordsOf } from "../../src/words.ts"
import { RegistryError } from "./error.ts"
import { ARCHITECTURE, OS } from "./manifest.ts"
import { CONFIGURATION, writeConfiguration, type Registries } from "./registries.ts"

export interface SkopeoOptions {
  /** Where its directories are made, each for one call. */
  readonly directory: string
  readonly uid: number
  readonly registries: Registries
  /** The one that is asked. */
  readonly registry: string
}

/** A directory of its own, and the calls that it is for; disposing it removes it. */
export interface Skopeo extends AsyncDisposable {
  /** Its blobs come there, `sha256/<hex>`; what is there already is not fetched. */
  readonly blobs: string
  /** What it answers as text; `maxBytes` is as long as that may be. */
  inspect(options: readonly string[], reference: string, maxBytes: number, signal: AbortSignal): Promise<string>
  /** No file becomes larger than this. */
  copy(reference: string, maxFileBytes: number, signal: AbortSignal): Promise<void>
}

/** Of the host: programs, names, and whom it trusts. */
const SEEN = ["/etc/ssl", "/etc/ca-certificates", "/etc/hosts", "/etc/nsswitch.conf"]
const HOME = "/fetch"
const SMALL_FILE_BYTES = 16 * 1024 ** 2
const SHOWN_CHARACTERS = 500

/** Makes a directory for some calls; the caller disposes it. */
export const openSkopeo = async ({ directory, uid, registries, registry }: SkopeoOptions): Promise<Skopeo> => {
  const home = join(directory, randomUUID())
  const blobs = join(home, "blobs")
  await mkdir(join(blobs, "sha256"), { recursive: true, mode: 0o700 })
  await writeConfiguration(home, registries, registry)
  await giveTo(uid, home)
  const resolver = await realpath("/etc/resolv.conf").catch(() => undefined)

  const run = async (
    args: readonly string[],
    reference: string,
    limits: { file: number; output: number },
    signal: AbortSignal,
  ): Promise<string> => {
    try {
      return await runCommand(
        "bwrap",
        [
          "--unshare-pid",
          "--unshare-ipc",
          "--unshare-uts",
          "--die-with-parent",
          "--new-session",
          "--ro-bind",
          "/usr",
          "/usr",
          ...["bin", "sbin", "lib", "lib64"].flatMap((name) => ["--symlink", `usr/${name}`, `/${name}`]),
          // It makes missing parents for root alone, and skopeo is not root any more.
          "--perms",
          "0755",
          "--dir",
          "/etc",
          ...SEEN.flatMap((path) => ["--ro-bind-try", path, path]),
          ...(resolver === undefined ? [] : ["--ro-bind", resolver, "/etc/resolv.conf"]),
          "--dev",
          "/dev",
          "--proc",
          "/proc",
          "--bind",
          home,
          HOME,
          "--chdir",
          HOME,
          "--",
          ...asUnprivileged(uid),
          "prlimit",
          `--fsize=${limits.file}`,
          "--core=0",
          "--",
          "nice",
          "-n5",
          "skopeo",
          "--insecure-policy",
          `--override-os=${OS}`,
          `--override-arch=${ARCHITECTURE}`,
          `--registries-conf=${HOME}/${CONFIGURATION.registries}`,
          `--tmpdir=${HOME}`,
          ...args,
        ],
        {
          signal,
          env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", HOME, LC_ALL: "C.UTF-8" },
          maxOutputBytes: limits.output,
        },
      )
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      throw new RegistryError(`${reference} cannot be fetched: ${reasonOf(error.output)}`)
    }
  }
  const auth = ["--authfile", `${HOME}/${CONFIGURATION.auth}`]

  return {
    blobs,
    inspect: (options, reference, maxBytes, signal) =>
      run(
        ["inspect", ...auth, ...options, `docker://${reference}`],
        reference,
        { file: SMALL_FILE_BYTES, output: maxBytes },
        signal,
      ),
    async copy(reference, maxFileBytes, signal) {
      await run(
        [
          "copy",
          "--quiet",
          "--src-authfile",
          auth[1] ?? "",
          "--dest-oci-accept-uncompressed-layers",
          "--dest-shared-blob-dir",
          `${HOME}/blobs`,
          `docker://${reference}`,
          `oci:${HOME}/layout:image`,
        ],
        reference,
        { file: Math.max(maxFileBytes, SMALL_FILE_BYTES), output: SMALL_FILE_BYTES },
        signal,
      )
    },
    async [Symbol.asyncDispose]() {
      await rm(home, { recursive: true, force: true })
    },
  }
}

/** All of it but what is linked from elsewhere. */
const giveTo = async (uid: number, path: string): Promise<void> => {
  await chown(path, uid, uid)
  if (!(await lstat(path)).isDirectory()) return
  for (const name of await readdir(path)) await giveTo(uid, join(path, name))
}

const CONFIGURED = 'under "images.registries" in TORPOR_CONFIG'
/** What can be done about it, by what skopeo says; the first that fits. */
const hints: readonly (readonly [RegExp, string])[] = [
  [
    /connection refused|connection reset|prohibited|Permission denied|operation not permitted/i,
    `of addresses inside, only those are reached that the operator names ${CONFIGURED}`,
  ],
  [
    /unauthorized|authentication required|denied/i,
    `there is no such image, or it is not for everybody: the operator's username and password for it are ${CONFIGURED}`,
  ],
  [/x509/, `the CA of a registry of one's own is its caFile ${CONFIGURED}`],
  [/HTTP response to HTTPS client/, `a registry that speaks plain HTTP is "insecure": true ${CONFIGURED}`],
]

/** The end of what skopeo says, where the reason is: `… level=fatal msg="…"`. */
const reasonOf = (output: string): string => {
  const said = output.trim().split("\n").at(-1) ?? ""
  const [, quoted] = /msg="((?:[^"\\]|\\.)*)"/.exec(said) ?? []
  const words = quoted?.replaceAll(/\\(.)/g, "$1") ?? said
  const [, hint] = hints.find(([what]) => what.test(words)) ?? []
  return wordsOf(words.slice(-SHOWN_CHARACTERS), SHOWN_CHARACTERS) + (hint === undefined ? "" : ` (${hint})`)
}
