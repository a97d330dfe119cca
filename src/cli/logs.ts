import { GetMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import type { LogEntry } from "../logs/entry.ts"
import { OperatorError } from "../errors.ts"
import { withClient, type ApiClient } from "./client.ts"
import type { CommandInput } from "./commands.ts"
import { UsageError } from "./invocation.ts"
import { followLines, printable, readLines } from "./log-lines.ts"

/** A line of one of a group's streams. */
interface GroupLine {
  readonly id: string
  readonly at: string
  readonly stream: string
  readonly text: string
}

/** A line as it is shown. */
interface Shown {
  readonly at: string
  /** Where it comes from, if it may be from several. */
  readonly stream?: string
  readonly text: string
}

const UNIT_MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const NEVER_OVER = () => Promise.resolve(false)

/** `torpor logs NAME`: prints what is kept of what was said, and with `-f` what comes. */
export const logs = async ({ config, args, options, print, signal }: CommandInput): Promise<number> => {
  const since = parseSince(options.get("since")?.[0], Date.now())
  const [name = "", stream] = [args["NAME"], args["STREAM"]]
  const isVm = /^microvm-[0-9a-f-]{36}$/.test(name)
  if (isVm && stream !== undefined)
    throw new UsageError("A MicroVM's log is one stream: leave STREAM out, or name the image.")
  const [follow, timed] = [options.has("follow"), options.has("timestamps")]
  return withClient(config, async (client) => {
    const lines = isVm
      ? linesOfVm(client, name, { since, follow }, signal)
      : linesOfGroup(client, { name, stream }, { since, follow }, signal)
    for await (const line of lines)
      print(
        [...(timed ? [line.at] : []), ...(line.stream === undefined ? [] : [line.stream]), line.text]
          .map(printable)
          .join(" "),
      )
    return 0
  })
}

/** A time in milliseconds: so long before `now`, or a date; 0 when nothing is said. */
export const parseSince = (text: string | undefined, now: number): number => {
  if (text === undefined) return 0
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? []
  if (count !== undefined) return Math.max(0, now - Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS])
  const at = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(at) || at < 0)
    throw new UsageError(
      `--since wants a time such as 10m, 2h, 1d or 2026-01-31T12:00Z, and '${text.slice(0, 60)}' is none.`,
    )
  return at
}

interface Wanted {
  readonly since: number
  readonly follow: boolean
}

async function* linesOfGroup(
  client: ApiClient,
  { name, stream }: { name: string; stream: string | undefined },
  { since, follow }: Wanted,
  signal: AbortSignal,
): AsyncGenerator<Shown> {
  let after: string | undefined
  const ask = () => ({
    path: "/torpor/v1/logs",
    query: {
      name,
      ...(stream === undefined ? {} : { stream }),
      ...(follow ? { follow: "1" } : {}),
      ...(after === undefined ? { since: String(since) } : { after }),
    },
  })
  const lines = follow
    ? followLines<GroupLine>(client, ask, NEVER_OVER, signal)
    : readLines<GroupLine>(client, ask(), signal)
  for await (const line of lines) {
    after = line.id
    yield stream === line.stream ? { at: line.at, text: line.text } : line
  }
}

async function* linesOfVm(
  client: ApiClient,
  id: string,
  { since, follow }: Wanted,
  signal: AbortSignal,
): AsyncGenerator<Shown> {
  let [from, before] = [0, -1]
  const ask = () => ({
    path: `/torpor/v1/microvms/${id}/logs`,
    query: { from: String(from), ...(follow ? { follow: "1" } : {}) },
  })
  /** A log ends with its MicroVM; an answer, with the daemon too, which goes on then. One that ends again at once is of no log. */
  const isOver = async () => {
    const { state } = await client.microvms.send(new GetMicrovmCommand({ microvmIdentifier: id }))
    if (state === "TERMINATING" || state === "TERMINATED") return true
    if (from === before) throw new OperatorError(`Nothing is kept of what ${id} says: its logging is disabled.`)
    before = from
    return false
  }
  const lines = follow ? followLines<LogEntry>(client, ask, isOver, signal) : readLines<LogEntry>(client, ask(), signal)
  for await (const { line, at, text } of lines) {
    from = line + 1
    if (Date.parse(at) >= since) yield { at, text }
  }
}
