/** Whose words: the application's two streams, a build's, ours about a function's invocations, and ours about the log itself. */
export type LogStream = "stdout" | "stderr" | "build" | "platform" | "notice"

/** A line of a log as it is stored and sent: one JSON object each. */
export interface LogEntry {
  /** Counted from 0; what isn't kept any more leaves a gap. */
  readonly line: number
  /** When this host got it, in ISO 8601: a guest's clock is the guest's. */
  readonly at: string
  readonly stream: LogStream
  readonly text: string
}
