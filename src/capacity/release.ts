import { unlessAborted } from "../abort.ts"
import type { Ledger } from "./ledger.ts"

/** Resolves when memory was given back after this was called. */
export const untilReleased = async (ledger: Pick<Ledger, "onRelease">, signal: AbortSignal): Promise<void> => {
  const next = Promise.withResolvers<void>()
  const stop = ledger.onRelease(next.resolve)
  try {
    await unlessAborted(next.promise, signal)
  } finally {
    stop()
  }
}
