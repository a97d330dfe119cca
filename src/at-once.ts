/**
 * Begins all of it at once, and resolves with what each resolves with. When one fails the others are aborted, and it rejects with the first
 * failure when none is under way any more: what was opened can be closed then.
 */
export const atOnce = async <const Work extends readonly Promise<unknown>[]>(
  begin: (signal: AbortSignal) => Work,
  signal: AbortSignal,
): Promise<{ -readonly [Key in keyof Work]: Awaited<Work[Key]> }> => {
  const failed = new AbortController()
  const work = begin(AbortSignal.any([signal, failed.signal]))
  const ended = work.map((one) =>
    one.catch((error: unknown) => {
      failed.abort(error)
    }),
  )
  await Promise.all(ended)
  failed.signal.throwIfAborted()
  return Promise.all(work)
}
