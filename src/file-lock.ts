import { spawn } from "node:child_process"
import { text } from "node:stream/consumers"
import { OperatorError } from "./errors.ts"

/** flock's exit code when somebody else has it, as we ask for it. */
const TAKEN = 99
/** Long enough for a holder that was killed a moment ago: the kernel is still taking it apart. */
const TRY_SECONDS = "1"
/** Long enough that a free lock is never announced as taken; nothing waits for it. */
const PATIENCE_MS = 500
/** What a terminal or an init system sends to all of a daemon's processes is meant for the daemon: until that ends, its lock holds. */
const HOLD = `trap "" HUP INT TERM; echo locked; exec cat`

/**
 * Holds an exclusive lock on a file until disposed. The kernel releases it when this process dies, however it dies:
 * flock(1) holds it and lives only as long as the pipe that we keep open to it.
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
  const child = spawn(
    "flock",
    ["--exclusive", "--conflict-exit-code", String(TAKEN), ...options, path, "sh", "-c", HOLD],
    { stdio: ["pipe", "pipe", "pipe"], detached: true },
  )
  child.stdin.on("error", () => {})
  const words = text(child.stderr)
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject).once("close", resolve)
  })
  const locked = new Promise<"locked">((resolve) => child.stdout.once("data", () => resolve("locked")))
  // Both: flock alone while it waits, and whatever it may have started this very moment.
  const giveUp = () => {
    child.kill()
    child.stdin.end()
  }
  signal.addEventListener("abort", giveUp, { once: true })
  const outcome = await Promise.race([locked, ended])
  signal.removeEventListener("abort", giveUp)
  if (signal.aborted) {
    giveUp()
    await ended
    throw signal.reason
  }
  if (outcome === TAKEN) return undefined
  if (outcome !== "locked") throw new OperatorError(`${path} could not be locked: ${(await words).trim()}`)
  return {
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      await ended
    },
  }
}
