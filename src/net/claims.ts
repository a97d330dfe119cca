/**
 * Which host id has which slot of this machine, host-wide: a symbolic link named after the slot that points to the host id. It is made in
 * one step, so a crash leaves it whole or not at all, and nobody's claim stays. Claims are by host id, not by process: VMs run on while
 * their daemon is down. A data directory given up leaves its claims; `torpor down` takes them back.
 */
import { mkdir, readdir, readlink, symlink, unlink } from "node:fs/promises"
import { join } from "node:path"

const DIRECTORY = "/run/torpor/slots"

export interface Claims {
  /** Claims the slot; `false` when it is another's. Claiming again what one has is no error. */
  claim(index: number): Promise<boolean>
  /** Claims the lowest slot that nobody has and `isUsable` lets pass; `undefined` when there is none. */
  claimFree(isUsable: (index: number) => boolean): Promise<number | undefined>
  /** The slots of this host id. */
  own(): Promise<number[]>
  /** Gives the slot back; nothing happens to another's. */
  release(index: number): Promise<void>
}

/** The claims of one host id on the first `size` slots. */
export const openClaims = async (hostId: string, size: number): Promise<Claims> => {
  await mkdir(DIRECTORY, { recursive: true })
  const pathOf = (index: number) => join(DIRECTORY, String(index))
  const isOwn = async (index: number) => (await readlink(pathOf(index)).catch(() => undefined)) === hostId
  const make = (index: number) =>
    symlink(hostId, pathOf(index)).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code !== "EEXIST") throw error
        return false
      },
    )
  const all = async () => (await readdir(DIRECTORY)).filter((name) => /^\d+$/.test(name)).map(Number)

  return {
    claim: async (index) => (await make(index)) || isOwn(index),
    async claimFree(isUsable) {
      const taken = new Set(await all())
      for (let index = 0; index < size; index++)
        if (!taken.has(index) && isUsable(index) && (await make(index))) return index
      return undefined
    },
    async own() {
      const indexes = await all()
      const owned = await Promise.all(indexes.map(isOwn))
      return indexes.filter((_, at) => owned[at])
    },
    async release(index) {
      if (await isOwn(index)) await unlink(pathOf(index))
    },
  }
}
