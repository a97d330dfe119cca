import type { Context } from "hono"
import type { ApiEnv } from "../aws/request-body.ts"

/**
 * An answer of JSON objects, one a line, made as they are taken: `lines` gets a signal that is aborted when nobody listens any more, or
 * `closing`, since a service that stops doesn't wait for those who only listen.
 */
export const jsonLinesAnswer = (
  c: Context<ApiEnv>,
  { requestId, follow, closing }: { requestId: string; follow: boolean; closing: AbortSignal },
  lines: (signal: AbortSignal) => AsyncGenerator<Uint8Array, undefined>,
): Response => {
  // A quiet log is no idle connection; one whose client has vanished is found out by the kernel.
  if (follow) c.env?.incoming?.socket.setTimeout(0).setKeepAlive(true, 60_000)
  const gone = new AbortController()
  const all = lines(AbortSignal.any([gone.signal, closing]))
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await all.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
    async cancel() {
      gone.abort()
      await all.return(undefined)
    },
  })
  return new Response(body, { headers: { "content-type": "application/x-ndjson", "x-amzn-requestid": requestId } })
}

/** Objects as lines. */
export const toJsonLines = (objects: readonly object[]): Uint8Array =>
  Buffer.from(objects.map((object) => `${JSON.stringify(object)}\n`).join(""))

/** The work's result, or another answer when it was given up on. */
export const unlessClosing = async <Answer>(
  work: Promise<Answer>,
  otherwise: Answer,
  signal: AbortSignal,
): Promise<Answer> =>
  work.catch((error: unknown) => {
    if (signal.aborted) return otherwise
    throw error
  })
