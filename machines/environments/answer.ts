/** The host's side of one answer: who serves the event writes, whoever gave it reads. */
import { PassThrough } from "node:stream"
import type { EnvironmentAnswer, FunctionFailure, Settlement } from "./environments.ts"

export interface AnswerHead {
  readonly contentType: string
  readonly isStreamed: boolean
}

export interface HostAnswer {
  readonly answer: EnvironmentAnswer
  /** How it has ended; nothing more is taken then. */
  isFinished(): boolean
  begin(head: AnswerHead): void
  /** Takes more of the response; resolves when its reader has room for what follows, or doesn't want it. */
  write(chunk: Buffer): Promise<void>
  /** From now on nobody waits for the reader. */
  hurry(): void
  finish(failure?: FunctionFailure): void
  settle(settlement: Settlement): void
  /** The event was never given to the function. */
  refuse(why: Error): void
}

const NOTHING: Settlement = {
  durationMs: 0,
  billedMs: 0,
  initMs: undefined,
  maxMemoryBytes: 0,
  tail: Buffer.alloc(0),
}

/** An answer that has not begun; it must be finished and settled, or refused. */
export const createAnswer = (): HostAnswer => {
  const head = Promise.withResolvers<AnswerHead | undefined>()
  const end = Promise.withResolvers<FunctionFailure | undefined>()
  const settled = Promise.withResolvers<Settlement>()
  const hurried = Promise.withResolvers<void>()
  const body = new PassThrough()
  // Who doesn't want the rest has reasons of its own.
  body.on("error", () => {})
  const closed = new Promise<void>((resolve) => body.once("close", resolve))
  let isFinished = false
  let isHurried = false
  // Whoever looks only at the end is told of it there.
  head.promise.catch(() => {})

  const finish = (failure?: FunctionFailure) => {
    if (isFinished) return
    isFinished = true
    head.resolve(undefined)
    body.end()
    end.resolve(failure)
  }
  return {
    answer: { head: head.promise, body, end: end.promise, settled: settled.promise },
    isFinished: () => isFinished,
    begin: (what) => head.resolve(what),
    async write(chunk) {
      if (isFinished || body.destroyed || body.write(chunk) || isHurried) return
      await Promise.race([new Promise((resolve) => body.once("drain", resolve)), closed, hurried.promise])
    },
    hurry() {
      isHurried = true
      hurried.resolve()
    },
    finish,
    settle: (settlement) => settled.resolve(settlement),
    refuse(why) {
      head.reject(why)
      finish()
      settled.resolve(NOTHING)
    },
  }
}
