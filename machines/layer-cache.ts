import { chmod, chown, mkdir, rename, stat } from "node:fs/promises"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { and, eq, inArray } from "drizzle-orm"
import { layers } from "../src/db/schema.ts"
import type { Database } from "./vm-row.ts"

export interface LayerCache {
  /** The files of the longest prefix of a chain that is there, bottom first. */
  find(account: string, hashes: readonly string[]): Promise<string[]>
  /** Takes a sealed overlay over as a layer; answers where it is now. A second builder's equal layer changes nothing. */
  keep(account: string, hash: string, parent: string | undefined, overlay: string): Promise<string>
}

/** The layers of this host: `layers/<account>/<hash>.qcow2`, each on top of its parent, never changed again. */
export const createLayerCache = (db: Database, hostId: string, dataDirectory: string): LayerCache => {
  const fileOf = (account: string, hash: string) => join(dataDirectory, "layers", account, `${hash}.qcow2`)
  return {
    async find(account, hashes) {
      if (hashes.length === 0) return []
      const mine = and(eq(layers.hostId, hostId), eq(layers.account, account), inArray(layers.hash, [...hashes]))
      const known = new Set((await db.update(layers).set({ usedAt: new Date() }).where(mine).returning({ hash: layers.hash })).map(({ hash }) => hash))
      const missing = hashes.findIndex((hash) => !known.has(hash) || !existsSync(fileOf(account, hash)))
      return hashes.slice(0, missing === -1 ? hashes.length : missing).map((hash) => fileOf(account, hash))
    },
    async keep(account, hash, parent, overlay) {
      const file = fileOf(account, hash)
      await mkdir(join(dataDirectory, "layers", account), { recursive: true, mode: 0o700 })
      await chown(overlay, 0, 0)
      await chmod(overlay, 0o444)
      await rename(overlay, file)
      const bytes = (await stat(file)).blocks * 512
      await db
        .insert(layers)
        .values({ hostId, account, hash, parentHash: parent ?? null, bytes })
        .onConflictDoNothing()
      return file
    },
  }
}
