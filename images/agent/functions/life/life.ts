/**
 * One life of a function's programs: extensions first, then the runtime. The end of any of them is the life's; and at its end all of them
 * are given the time that is theirs. Whoever owns the environment gives limits to init and invocations, and begins another life.
 */
import { setTimeout as sleep } from "node:timers/promises"
import type { ProcessEnd } from "../../../../src/agent/protocol.ts"
import type { ShutdownReason } from "../extensions.ts"
import { toExtensionEnd, toLaunchError, toRuntimeEnd } from "./program-end.ts"
import { openRuntimeApi, type RuntimeApi, type RuntimeApiOptions } from "../runtime-api.ts"

export interface Program {
  readonly ended: Promise<ProcessEnd>
  /** What it says from now on is not this life's. */
  letGo(): void
  /** Asks it to end. */
  terminate(): Promise<void>
  /** Ends it, with all that it has started. */
  kill(): Promise<void>
}

export interface LifeOptions extends RuntimeApiOptions {
  /** Starts an extension by its name, or the runtime; rejects when that cannot be run. `onLine` hears what it says. */
  start(extension: string | undefined, onLine: (line: string) => void): Promise<Program>
}

export interface Life {
  readonly api: RuntimeApi
  /** Lets go of the runtime, which lives on: its training is over. */
  release(): Promise<void>
  /** Gives them the time that they have by AWS's rules, and kills what is left; no program runs and nothing listens when it resolves. */
  end(reason: ShutdownReason): Promise<void>
}

/** How long all of it may take; the runtime has the first part of what there is when there are external extensions. */
const INTERNAL_MS = 500
const EXTERNAL_MS = 2000
const RUNTIME_PART = 0.3

/** Opens the APIs and starts the programs; what goes wrong with them is told by `api.failed`. Whoever starts a life ends it. */
export const startLife = (options: LifeOptions): Life => {
  const api = openRuntimeApi(options)
  const extensions: Program[] = []
  let runtime: Program | undefined
  let isOver = false
  void api.failed.then(() => (isOver = true))

  const start = async (name: string | undefined): Promise<Program | undefined> => {
    try {
      const program = await options.start(name, (line) => api.line(name === undefined ? "function" : "extension", line))
      void program.ended.then((how) => {
        // One that was asked to end has not failed.
        if (!isOver) api.fail((id) => (name === undefined ? toRuntimeEnd(how, id) : toExtensionEnd(name, how, id)))
      })
      return program
    } catch (error) {
      api.fail((id) => toLaunchError(name, error as Error, id))
      return undefined
    }
  }

  const begin = async () => {
    for (const name of options.extensions) {
      if (isOver) return
      const program = await start(name)
      if (program !== undefined) extensions.push(program)
    }
    await Promise.race([api.registered, api.failed])
    if (!isOver) runtime = await start(undefined)
  }
  const begun = begin()

  return {
    api,
    async release() {
      isOver = true
      await begun
      runtime?.letGo()
      await api[Symbol.asyncDispose]()
    },
    async end(reason) {
      isOver = true
      // So that what waits for a registration waits no longer.
      api.fail((id) => toRuntimeEnd({ code: 0, signal: null }, id))
      await begun
      const totalMs = extensions.length > 0 ? EXTERNAL_MS : api.hasExtensions ? INTERNAL_MS : 0
      const deadlineMs = Date.now() + totalMs
      if (runtime !== undefined) await endProgram(runtime, extensions.length > 0 ? totalMs * RUNTIME_PART : totalMs)
      api.shutdown(reason, deadlineMs)
      await endWithin(extensions, deadlineMs - Date.now())
      await api.flush()
      await api[Symbol.asyncDispose]()
    },
  }
}

/** Without time it isn't asked. */
const endProgram = async (program: Program, graceMs: number) => {
  if (graceMs > 0) await program.terminate()
  await endWithin([program], graceMs)
}

const endWithin = async (programs: readonly Program[], graceMs: number) => {
  const late = new AbortController()
  const ended = Promise.all(programs.map((program) => program.ended))
  if (graceMs > 0) await Promise.race([ended, sleep(graceMs, undefined, { signal: late.signal }).catch(() => {})])
  late.abort()
  await Promise.all(programs.map((program) => program.kill()))
  await ended
}
