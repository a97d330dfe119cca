import { spawn } from "node:child_process"
import { closeSync, constants, openSync } from "node:fs"
import type { Readable } from "node:stream"
import { text } from "node:stream/consumers"
import { messageOf, OperatorError } from "./errors.ts"

/** flock's exit code when somebody else has it, as we ask for it. */
const TAKEN = 99
/** Long enough for a holder that was killed a moment ago: the kernel is still taking it apart. */
const TRY_SECONDS = "1"
/** Long enough that a free lock is never announced as taken; nothing waits for it. */
const PATIENCE_MS = 500

/**
 * Holds an exclusive lock on a file until disposed. The kernel releases it when this process dies, however it dies: the file is open in
 * no other, since nothing that Node opens is inherited.
 * `onWait` is called once if somebody else has it. Rejects when aborted; an abort that comes later changes nothing.
 */
export const lock = async (
  path: string,
  signal: AbortSignal,
  onWait: () => void = () => {},
): Promise<AsyncDisposable> => {
  const patience = setTimeout(onWait, PATIENCE_MS)
  try {
    const held = await hold(path, [], signal)
    if (held === undefined) throw new Error(`flock gave up on ${path}`)
    return held
  } finally {
    clearTimeout(patience)
  }
}

/** As {@link lock}, but answers `undefined` when somebody else has it. */
export const tryLock = (path: string, signal: AbortSignal): Promise<AsyncDisposable | undefined> =>
  hold(path, ["--timeout", TRY_SECONDS], signal)

const hold = async (
  path: string,
  options: readonly string[],
  signal: AbortSignal,
): Promise<AsyncDisposable | undefined> => {
  signal.throwIfAborted()
  const descriptor = openLock(path)
  try {
    if (!(await isLocked(descriptor, path, options, signal))) {
      closeSync(descriptor)
      return undefined
    }
  } catch (error) {
    closeSync(descriptor)
    throw error
  }
  return {
    [Symbol.asyncDispose]() {
      closeSync(descriptor)
      return Promise.resolve()
    },
  }
}

const openLock = (path: string): number => {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_CREAT, 0o666)
  } catch (error) {
    throw new OperatorError(`${path} could not be locked: ${messageOf(error)}`)
  }
}

/** What flock(1) locks is the open file itself, which it shares with us: it ends, and the lock is ours. */
const isLocked = async (descriptor: number, path: string, options: readonly string[], signal: AbortSignal) => {
  const child = spawn("flock", ["--exclusive", "--conflict-exit-code", String(TAKEN), ...options, "3"], {
    stdio: ["ignore", "ignore", "pipe", descriptor],
    detached: true,
  })
  const words = text(child.stderr as Readable)
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject).once("close", resolve)
  })
  const giveUp = () => child.kill()
  signal.addEventListener("abort", giveUp, { once: true })
  const code = await ended.finally(() => signal.removeEventListener("abort", giveUp))
  signal.throwIfAborted()
  if (code !== 0 && code !== TAKEN) throw new OperatorError(`${path} could not be locked: ${(await words).trim()}`)
  return code === 0
}
