import { randomUUID } from "node:crypto"
import { chmod, chown, link, mkdir, stat } from "node:fs/promises"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { and, eq, inArray } from "drizzle-orm"
import { layers } from "../src/db/schema.ts"
import type { Database } from "./vm-row.ts"

export interface LayerCache {
  /** The files of the longest prefix of a chain that is there, bottom first. */
  find(account: string, hashes: readonly string[]): Promise<string[]>
  /**
   * Takes a sealed overlay over as a layer on top of the file of an earlier one; answers where it is from now on. Where another build
   * was first, the layer belongs to this build alone: its blocks fit only on the file that it was made on.
   */
  keep(account: string, hash: string, parentFile: string | undefined, overlay: string): Promise<string>
}

/** The layers of this host: `layers/<account>/<hash>-<…>.qcow2`, never changed again. */
export const createLayerCache = (db: Database, hostId: string, dataDirectory: string): LayerCache => {
  const root = join(dataDirectory, "layers")
  const nameOf = (path: string) => path.slice(root.length + 1)

  const rowsOf = async (account: string, hashes: readonly string[]) =>
    new Map(
      (
        await db
          .update(layers)
          .set({ usedAt: new Date() })
          .where(and(eq(layers.hostId, hostId), eq(layers.account, account), inArray(layers.hash, [...hashes])))
          .returning()
      ).map((row) => [row.hash, row]),
    )

  return {
    async find(account, hashes) {
      if (hashes.length === 0) return []
      const rows = await rowsOf(account, hashes)
      const files: string[] = []
      for (const hash of hashes) {
        const row = rows.get(hash)
        const below = files.at(-1)
        if (
          row === undefined ||
          row.parentFile !== (below === undefined ? null : nameOf(below)) ||
          !existsSync(join(root, row.file))
        )
          break
        files.push(join(root, row.file))
      }
      return files
    },
    async keep(account, hash, parentFile, overlay) {
      const file = join(root, account, `${hash.slice(0, 32)}-${randomUUID().slice(0, 8)}.qcow2`)
      await mkdir(join(root, account), { recursive: true, mode: 0o700 })
      await chown(overlay, 0, 0)
      await chmod(overlay, 0o444)
      // Linked, not moved: the build VM still knows it by the name it was opened with.
      await link(overlay, file)
      const parent = parentFile === undefined ? null : nameOf(parentFile)
      const fits =
        parent === null ||
        (
          await db
            .select({ file: layers.file })
            .from(layers)
            .where(and(eq(layers.hostId, hostId), eq(layers.file, parent)))
        ).length > 0
      if (fits)
        await db
          .insert(layers)
          .values({
            hostId,
            account,
            hash,
            file: nameOf(file),
            parentFile: parent,
            bytes: (await stat(file)).blocks * 512,
          })
          .onConflictDoNothing()
      return file
    },
  }
}
