/**
 * What `RUN --mount=type=cache` keeps from build to build: a guest's file system in a file, that only guests of the same image mount.
 * Whoever takes it has it alone; who comes meanwhile has an empty one, and the last to give it back is kept.
 */
import { chown, mkdir, rename, rm, stat, utimes } from "node:fs/promises"
import { dirname, join } from "node:path"
import { runCommand } from "../../src/command.ts"
import { fileSizes, sumOf } from "../../src/file-sizes.ts"
import type { Drive } from "../../src/vmm/vmm.ts"
import type { Scope } from "../resources.ts"

export interface KeptDrive {
  readonly drive: Drive
  /** Puts it back for the next who asks; its VM is over. */
  giveBack(): Promise<void>
}

export interface KeptCaches {
  /** An image's as a file of the caller's own. */
  take(scope: Scope, imageName: string, own: string, signal: AbortSignal): Promise<KeptDrive>
  /** Removes those that there is no room for; what a build has is not among them. */
  trim(): Promise<void>
}

export interface KeptCachesOptions {
  readonly directory: string
  /** An empty file system. */
  readonly blankDisk: string
  /** Of all together; the least recently used go first. */
  readonly maxBytes: number
}

export const createKeptCaches = ({ directory, blankDisk, maxBytes }: KeptCachesOptions): KeptCaches => ({
  async take({ account, region }, imageName, own, signal) {
    const kept = join(directory, account, region, `${imageName}.raw`)
    await rename(kept, own).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error
      await runCommand("cp", ["--reflink=auto", "--sparse=always", "--no-preserve=all", blankDisk, own], { signal })
    })
    return {
      drive: { chain: [{ path: own, format: "raw" }], readOnly: false },
      async giveBack() {
        await mkdir(dirname(kept), { recursive: true, mode: 0o700 })
        await chown(own, 0, 0)
        const now = new Date()
        await utimes(own, now, now)
        await rename(own, kept)
      },
    }
  },
  async trim() {
    const sizes = await fileSizes(directory)
    let left = sumOf(sizes.values())
    if (left <= maxBytes) return
    const usedAt = new Map<string, number>()
    for (const file of sizes.keys()) usedAt.set(file, await lastChange(join(directory, file)))
    for (const [file, bytes] of [...sizes].toSorted(([a], [b]) => usedAt.get(a)! - usedAt.get(b)!)) {
      if (left <= maxBytes) break
      await rm(join(directory, file), { force: true })
      left -= bytes
    }
  },
})

/** Milliseconds since 1970; 0 of what a build has taken meanwhile. */
const lastChange = async (file: string): Promise<number> => (await stat(file).catch(() => undefined))?.mtimeMs ?? 0
