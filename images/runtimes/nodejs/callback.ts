/** Handlers of the older kind, which answer by calling back: until Node 22. */
import type { Context } from "./context.ts"
import type { Handler } from "./handler.ts"

type Callback = (error?: unknown, result?: unknown) => void

/**
 * Calls a handler that may answer with a promise, a callback, or the context's own methods; whichever is first. A callback's answer waits
 * until nothing is left to do, unless the handler says otherwise, and one that never answers has answered when nothing is left to do.
 */
export const callBack = (handler: Handler, event: unknown, context: Context): Promise<unknown> =>
  new Promise((resolve, reject) => {
    let answer: (() => void) | undefined
    let isOver = false
    const finish = (how: () => void) => {
      if (isOver) return
      isOver = true
      process.off("beforeExit", whenIdle)
      how()
    }
    const whenIdle = () => finish(answer ?? (() => resolve(null)))
    process.on("beforeExit", whenIdle)
    const callback: Callback = (error, result) => {
      if (answer !== undefined) return
      answer = () => (error === undefined || error === null ? resolve(result) : reject(error))
      if (context.callbackWaitsForEmptyEventLoop === false) setImmediate(() => finish(answer as () => void))
    }
    const now: Callback = (error, result) => {
      context.callbackWaitsForEmptyEventLoop = false
      callback(error, result)
    }
    Object.assign(context, {
      callbackWaitsForEmptyEventLoop: true,
      done: now,
      succeed: (result: unknown) => now(null, result),
      fail: (error: unknown) => now(error ?? "handled"),
    })
    try {
      const returned = handler(event, context, callback) as { then?: unknown } | null | undefined
      if (typeof returned?.then !== "function") return
      Promise.resolve(returned).then(
        (result) => finish(() => resolve(result)),
        (error: unknown) => finish(() => reject(error)),
      )
    } catch (error) {
      finish(() => reject(error))
    }
  })
