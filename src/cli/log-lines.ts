import { setTimeout as sleep } from "node:timers/promises"
import type { ApiClient } from "./client.ts"

/** What is asked of the daemon. */
interface Question {
  readonly path: string
  readonly query: Readonly<Record<string, string>>
}

/** How often a daemon is looked for that has gone away meanwhile. */
const [AGAIN_MS, TRIES] = [1000, 60]

/** The lines of an answer as the objects that they are. */
export async function* readLines<Line>(
  client: ApiClient,
  { path, query }: Question,
  signal: AbortSignal,
  onAnswer: () => void = () => {},
): AsyncGenerator<Line, undefined> {
  const { body } = await client.send("GET", path, signal, query)
  onAnswer()
  const decoder = new TextDecoder()
  let rest = ""
  for await (const chunk of body ?? []) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n")
    rest = lines.pop() ?? ""
    for (const line of lines) yield JSON.parse(line) as Line
  }
  return undefined
}

/**
 * The lines of an answer that goes on, also when the daemon starts again meanwhile: `ask` says anew what is still wanted. When an answer has come to
 * its end `isOver` says whether all is said.
 */
export async function* followLines<Line>(
  client: ApiClient,
  ask: () => Question,
  isOver: () => Promise<boolean>,
  signal: AbortSignal,
): AsyncGenerator<Line, undefined> {
  let isKnown = false
  for (let tries = TRIES; ; tries--) {
    try {
      for await (const line of readLines<Line>(client, ask(), signal, () => (isKnown = true))) {
        tries = TRIES
        yield line
      }
      if (await isOver()) return undefined
    } catch (error) {
      // One that never answered isn't about to come back.
      if (signal.aborted || tries === 0 || !isKnown || !isWeather(error)) throw error
    }
    await sleep(AGAIN_MS, undefined, { signal })
  }
}

const WEATHER = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE"])

/** A connection that is refused or breaks off: as fetch tells it, or the SDK. */
const isWeather = (error: unknown) =>
  error instanceof TypeError || WEATHER.has((error as NodeJS.ErrnoException).code ?? "")

/** Strangers say what they like, and this is somebody's terminal. */
export const printable = (text: string) => text.replaceAll(/(?!\t)\p{Cc}/gu, "")
