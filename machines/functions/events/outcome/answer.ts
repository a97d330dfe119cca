import type { Invoked } from "../../invoking/invoker.ts"
import type { LastAnswer } from "./record.ts"

/** Of a response; what is longer the environment has refused before. */
const MAX_RESPONSE_BYTES = 6 * 1024 ** 2 + 100

/** Waits for the whole answer. Its bytes are kept when somebody wants to be told of them. */
export const readAnswer = async (invoked: Invoked, isWanted: boolean): Promise<LastAnswer> => {
  const chunks: Buffer[] = []
  let bytes = 0
  invoked.body.on("data", (chunk: Buffer) => {
    bytes += chunk.length
    if (isWanted && bytes <= MAX_RESPONSE_BYTES) chunks.push(chunk)
  })
  // It ends without an end only with the environment, which `end` tells of.
  invoked.body.on("error", () => {})
  const read = new Promise<void>((resolve) => invoked.body.once("close", resolve).once("end", resolve))
  const failure = await invoked.end
  if (failure === undefined && isWanted) await read
  return {
    executedVersion: invoked.executedVersion,
    hasFailed: failure !== undefined,
    payload: failure?.body ?? Buffer.concat(chunks),
  }
}
