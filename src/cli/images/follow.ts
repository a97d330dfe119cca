import { setTimeout as sleep } from "node:timers/promises"
import type { ApiClient } from "../client.ts"

export interface BuildEnd {
  readonly state: "SUCCESSFUL" | "FAILED"
  readonly reason: string | null
}

/** How often a daemon is looked for that has gone away meanwhile. */
const [AGAIN_MS, TRIES] = [1000, 60]

/** Prints a build's log as it is written; resolves with how it ends, also when the daemon starts again meanwhile. */
export const followBuild = async (
  client: ApiClient,
  buildId: string,
  print: (line: string) => void,
  signal: AbortSignal,
): Promise<BuildEnd> => {
  let from = 0
  for (let tries = TRIES; ; tries--) {
    try {
      const query = { follow: "1", from: String(from) }
      const { body } = await client.send("GET", `/torpor/v1/builds/${buildId}/logs`, signal, query)
      for await (const line of linesOf(body)) {
        const told = JSON.parse(line) as { line: number; text: string } | BuildEnd
        if ("state" in told) return told
        from = told.line + 1
        tries = TRIES
        print(printable(told.text))
      }
    } catch (error) {
      if (signal.aborted || tries === 0 || !isWeather(error)) throw error
    }
    await sleep(AGAIN_MS, undefined, { signal })
  }
}

/** A connection that is refused or breaks off. */
const isWeather = (error: unknown) => error instanceof TypeError

async function* linesOf(body: ReadableStream<Uint8Array> | null): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ""
  for await (const chunk of body ?? []) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n")
    rest = lines.pop() ?? ""
    yield* lines
  }
}

/** A build says what it likes, and this is somebody's terminal. */
const printable = (text: string) => text.replaceAll(/(?!\t)\p{Cc}/gu, "")
