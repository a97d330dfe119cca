/** That something about a function has changed, told within this daemon once it is committed. */

export interface FunctionChanges {
  /** Its code, its settings, its versions or aliases, its concurrency, its URLs, who may use it; or it is gone. */
  tell(functionId: string): void
  /** Answers what stops it. A listener doesn't throw. */
  listen(listener: (functionId: string) => void): () => void
}

export const createFunctionChanges = (): FunctionChanges => {
  const listeners = new Set<(functionId: string) => void>()
  return {
    tell(functionId) {
      for (const listener of listeners) listener(functionId)
    },
    listen(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}
