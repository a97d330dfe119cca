/** Where one daemon's fetches are while they are under way: `fetching-<mark>` beside the cache, which several daemons may share. */
import { mkdir, readdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { tryLock } from "../../src/file-lock.ts"
import { OperatorError } from "../../src/errors.ts"

export interface Workplace extends AsyncDisposable {
  readonly path: string
}

const NAME = /^fetching-[0-9a-f]{8}$/
const lockOf = (root: string, name: string) => join(root, `${name}.lock`)

/**
 * Makes it empty; the caller disposes it. It is its daemon's as long as that holds the lock beside it, so what any killed daemon has left
 * is removed, also of those that never come again: beside what the caller does, since those that live make whoever asks wait.
 */
export const openWorkplace = async (root: string, hostId: string, signal: AbortSignal): Promise<Workplace> => {
  await mkdir(root, { recursive: true })
  const own = `fetching-${hostId.slice(0, 8)}`
  const held = await tryLock(lockOf(root, own), signal)
  if (held === undefined)
    throw new OperatorError(
      `${join(root, own)} is in use: another daemon has the same host id. Is its data directory a copy?`,
    )
  const path = join(root, own)
  const closing = new AbortController()
  let removing: Promise<unknown>
  try {
    const others = (await readdir(root)).filter((name) => NAME.test(name) && name !== own)
    removing = Promise.allSettled(others.map((name) => removeLeft(root, name, closing.signal)))
    await rm(path, { recursive: true, force: true })
    await mkdir(path, { mode: 0o711 })
  } catch (error) {
    await held[Symbol.asyncDispose]()
    throw error
  }
  return {
    path,
    async [Symbol.asyncDispose]() {
      closing.abort()
      await removing
      await rm(path, { recursive: true, force: true })
      await rm(lockOf(root, own), { force: true })
      await held[Symbol.asyncDispose]()
    },
  }
}

const removeLeft = async (root: string, name: string, signal: AbortSignal) => {
  await using held = await tryLock(lockOf(root, name), signal)
  if (held === undefined) return
  await rm(join(root, name), { recursive: true, force: true })
  await rm(lockOf(root, name), { force: true })
}
