/**
 * A runtime that was started before there is a function for it: it is told on its standard input, by one line of JSON, and becomes what
 * it would be had it been started with that. First, any number of times, it is trained by functions that are none.
 */
import { closeSync, openSync, readSync } from "node:fs"

/** Set where a runtime waits. */
export const WAITING = "_TORPOR_WAITING"

export interface Assignment {
  /** All of its environment. */
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  /** Another follows. */
  readonly isTraining: boolean
}

/** Waits without an event loop, so that nothing is left to do while a snapshot is taken, and becomes what it is told. */
export const beAssigned = (): Assignment => {
  const assignment = JSON.parse(readLine()) as Assignment
  const { env, cwd, isTraining } = assignment
  for (const name of Object.keys(process.env)) if (!Object.hasOwn(env, name)) delete process.env[name]
  for (const [name, value] of Object.entries(env)) if (process.env[name] !== value) process.env[name] = value
  // Also where it is the same path: by now something may be mounted there.
  process.chdir(cwd)
  // What is mounted there is taken away when it is over.
  if (isTraining) process.chdir("/")
  else closeSync(0)
  // The lowest that is free: a function finds nothing on its standard input.
  const nothing = openSync("/dev/null", "r")
  if (isTraining) closeSync(nothing)
  moveTimeOrigin()
  return assignment
}

let timeOrigin: number | undefined

/** Its clock has stood still since the snapshot was taken that it comes from. */
export const moveTimeOrigin = (): void => {
  const isMoved = timeOrigin !== undefined
  timeOrigin = Date.now() - performance.now()
  // Once: a property that is made another has its object made another, too.
  if (!isMoved)
    Object.defineProperty(performance, "timeOrigin", { get: () => timeOrigin, configurable: true, enumerable: true })
}

const readLine = (): string => {
  const chunk = Buffer.alloc(64 * 1024)
  const chunks: Buffer[] = []
  for (;;) {
    const bytes = readSync(0, chunk)
    // Nobody will ever tell it.
    if (bytes === 0) process.exit(0)
    chunks.push(Buffer.from(chunk.subarray(0, bytes)))
    if (chunk[bytes - 1] === 0x0a) return Buffer.concat(chunks).toString("utf8")
  }
}
