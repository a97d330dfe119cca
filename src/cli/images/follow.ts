import type { ApiClient } from "../client.ts"
import { followLines, printable } from "../log-lines.ts"

export interface BuildEnd {
  readonly state: "SUCCESSFUL" | "FAILED"
  readonly reason: string | null
}

/** Prints a build's log as it is written; resolves with how it ends, also when the daemon starts again meanwhile. */
export const followBuild = async (
  client: ApiClient,
  buildId: string,
  print: (line: string) => void,
  signal: AbortSignal,
): Promise<BuildEnd> => {
  const path = `/torpor/v1/builds/${buildId}/logs`
  let from = 0
  for await (const told of followLines<{ line: number; text: string } | BuildEnd>(
    client,
    () => ({ path, query: { follow: "1", from: String(from) } }),
    () => Promise.resolve(false),
    signal,
  )) {
    if ("state" in told) return told
    from = told.line + 1
    print(printable(told.text))
  }
  throw new Error("Nobody told how the build ended")
}
