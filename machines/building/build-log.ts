import type { Logs } from "../../src/logs/logs.ts"

export interface BuildLog {
  /** Text of one or more lines. */
  add(text: string): void
  /** Resolves when all of it is stored; who follows it is told that it ends here. */
  end(): Promise<void>
}

/** The log of one build. */
export const createBuildLog = (logs: Logs, buildId: string): BuildLog => {
  const writer = logs.writer(buildId, "both ends")
  return {
    add: (text) => writer.add("build", `${text}\n`),
    async end() {
      await writer.close()
      await logs.end(buildId)
    },
  }
}
