import { spawn } from "node:child_process"

/**
 * Holds an exclusive lock on a file until disposed. The kernel releases it when this process dies, however it dies:
 * flock(1) holds it and lives only as long as the pipe that we keep open to it.
 * `onWait` is called once if somebody else has it. Rejects when aborted.
 */
export const lock = async (
  path: string,
  signal: AbortSignal,
  onWait: () => void = () => {},
): Promise<AsyncDisposable> => {
  const child = spawn("flock", ["--exclusive", path, "sh", "-c", "echo locked; exec cat"], {
    signal,
    stdio: ["pipe", "pipe", "inherit"],
  })
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()))
  // Long enough that a free lock is never announced as taken; nothing waits for it.
  const patience = setTimeout(onWait, 500)
  try {
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject)
      child.once("close", () => reject(new Error(`${path} could not be locked`)))
      child.stdout.once("data", () => resolve())
    })
  } finally {
    clearTimeout(patience)
  }
  return {
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      await ended
    },
  }
}

/** As {@link lock}, but answers `undefined` at once when somebody else has it. */
export const tryLock = async (path: string, signal: AbortSignal): Promise<AsyncDisposable | undefined> => {
  let taken = false
  const giveUp = new AbortController()
  const held = lock(path, AbortSignal.any([signal, giveUp.signal]), () => {
    taken = true
    giveUp.abort()
  })
  return held.catch((error: unknown) => {
    if (taken) return undefined
    throw error
  })
}
