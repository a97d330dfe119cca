/** The answers to invocations. */
import type { Invoked } from "../../../../../machines/functions/invoking/invoker.ts"
import { EVENT_STREAM, toEventFrame } from "./event-stream.ts"

const MAX_CHUNK_BYTES = 128 * 1024

const tailOf = async ({ settled }: Invoked): Promise<string> => (await settled).tail.toString("base64")

const failed = { "x-amz-function-error": "Unhandled" }

/** The whole response, or how the function has failed. `wantsTail`: with the end of its log. */
export const toWholeAnswer = async (invoked: Invoked, wantsTail: boolean, gone: AbortSignal): Promise<Response> => {
  const chunks: Buffer[] = []
  const stop = () => void invoked.body.destroy()
  gone.addEventListener("abort", stop, { once: true })
  if (gone.aborted) stop()
  for await (const chunk of invoked.body as AsyncIterable<Buffer>) chunks.push(chunk)
  const failure = await invoked.end
  return new Response(failure?.body ?? Buffer.concat(chunks), {
    headers: {
      "content-type": failure === undefined ? invoked.contentType : "application/json",
      "x-amz-executed-version": invoked.executedVersion,
      ...(failure === undefined ? {} : failed),
      ...(wantsTail ? { "x-amz-log-result": await tailOf(invoked) } : {}),
    },
  })
}

async function* framesOf(invoked: Invoked, wantsTail: boolean): AsyncGenerator<Buffer, undefined> {
  for await (const chunk of invoked.body as AsyncIterable<Buffer>)
    for (let from = 0; from < chunk.length; from += MAX_CHUNK_BYTES)
      yield toEventFrame("PayloadChunk", "application/octet-stream", chunk.subarray(from, from + MAX_CHUNK_BYTES))
  const failure = await invoked.end
  const complete = {
    ...(failure === undefined ? {} : { ErrorCode: "Unhandled", ErrorDetails: failure.body.toString("utf8") }),
    ...(wantsTail ? { LogResult: await tailOf(invoked) } : {}),
  }
  yield toEventFrame("InvokeComplete", "application/json", Buffer.from(JSON.stringify(complete)))
}

/** The response as it comes, at the caller's pace, and how it has ended. */
export const toStreamedAnswer = (invoked: Invoked, wantsTail: boolean): Response => {
  const frames = framesOf(invoked, wantsTail)
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await frames.next()
        if (done) controller.close()
        else controller.enqueue(value)
      },
      async cancel() {
        invoked.body.destroy()
        await frames.return(undefined)
      },
    },
    { highWaterMark: 0 },
  )
  return new Response(body, {
    headers: { "content-type": EVENT_STREAM, "x-amz-executed-version": invoked.executedVersion },
  })
}
