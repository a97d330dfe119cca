/**
 * Places between the events of many logs, in the order of their time: what is before one has been read, what isn't comes next.
 * An event's own is right before it. As text it is all digits, as AWS's event ids and tokens are.
 */
export interface Position {
  /** Milliseconds. */
  readonly at: number
  readonly logId: string
  readonly line: number
}

const NO_LOG = "00000000-0000-0000-0000-000000000000"
const [AT_DIGITS, LOG_DIGITS, LINE_DIGITS] = [13, 39, 10]
const TEXT = new RegExp(`^(\\d{${AT_DIGITS}})(\\d{${LOG_DIGITS}})(\\d{${LINE_DIGITS}})$`)
const LAST_MS = 8_640_000_000_000

/** Before everything that was said at a time, in milliseconds, or later. */
export const positionAt = (ms: number): Position => ({ at: Math.min(ms, LAST_MS), logId: NO_LOG, line: 0 })

/** Right behind an event. */
export const behind = ({ at, logId, line }: Position): Position => ({ at, logId, line: line + 1 })

/** Negative when the first one is before the second. Ids are compared as Postgres does. */
export const comparePositions = (one: Position, other: Position): number =>
  one.at - other.at || (one.logId < other.logId ? -1 : one.logId > other.logId ? 1 : one.line - other.line)

/** All digits. */
export const toPositionText = ({ at, logId, line }: Position): string =>
  [
    String(at).padStart(AT_DIGITS, "0"),
    BigInt(`0x${logId.replaceAll("-", "")}`)
      .toString()
      .padStart(LOG_DIGITS, "0"),
    String(line).padStart(LINE_DIGITS, "0"),
  ].join("")

/** `undefined` when the text is no position's. */
export const parsePosition = (text: string): Position | undefined => {
  const [, at = "", log = "", line = ""] = TEXT.exec(text) ?? []
  if (log === "" || Number(at) > LAST_MS || Number(line) >= 2 ** 31) return undefined
  const hex = BigInt(log).toString(16).padStart(32, "0")
  if (hex.length > 32) return undefined
  return {
    at: Number(at),
    logId: hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"),
    line: Number(line),
  }
}
