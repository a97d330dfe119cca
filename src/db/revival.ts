import type { Log } from "../log.ts"
import { startPrivatePostgres } from "./private-postgres.ts"

export interface Revival extends AsyncDisposable {
  /** A connection has closed. */
  onclose(): void
}

/**
 * Starts the private Postgres again when it has died, once for all connections that close with it. For who has the data directory to
 * itself: two at once would end each other's. Disposing waits for a start that it ends.
 */
export const createRevival = (
  { dataDirectory, hostId }: { readonly dataDirectory: string; readonly hostId: string },
  log: Log,
): Revival => {
  const closing = new AbortController()
  let work: Promise<void> | undefined
  const revive = async () => {
    try {
      await startPrivatePostgres(dataDirectory, hostId, closing.signal)
    } catch (error) {
      if (!closing.signal.aborted)
        log.error({ err: error }, "The private Postgres has died, and could not be started again")
    } finally {
      work = undefined
    }
  }
  return {
    onclose() {
      if (!closing.signal.aborted) work ??= revive()
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      await work
    },
  }
}
