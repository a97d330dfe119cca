import type { HourlyUsage } from "../../../machines/functions/usage/usage-reader.ts"
import { withClient } from "../client.ts"
import { toColumns } from "../columns.ts"
import type { CommandInput } from "../commands.ts"
import { printable } from "../log-lines.ts"
import { parseSince } from "../logs.ts"

const HEADINGS = ["VERSION", "INVOCATIONS", "ERRORS", "THROTTLES", "DURATION", "GB-SECONDS"]

type Item = Omit<HourlyUsage, "hour"> & { readonly hour: string }

/** `torpor functions usage NAME`: what each version of a function was used for. */
export const usage = async ({ config, args, options, print, signal }: CommandInput): Promise<number> =>
  withClient(config, async (client) => {
    const since = parseSince(options.get("since")?.[0] ?? "1d", Date.now())
    const path = `/torpor/v1/functions/${encodeURIComponent(args["NAME"] ?? "")}/usage`
    const items: Item[] = []
    for (let after: string | undefined = ""; after !== undefined;) {
      const query = { since: new Date(since).toISOString(), ...(after === "" ? {} : { after }) }
      const answer = await client.send("GET", path, signal, query)
      const page = (await answer.json()) as { items: Item[]; next?: string }
      items.push(...page.items)
      after = page.next
    }
    if (options.has("json")) {
      print(JSON.stringify(items))
      return 0
    }
    const rows = [...Map.groupBy(items, ({ version }) => version)].map(([version, hours]) => {
      const sum = (of: (hour: (typeof hours)[number]) => number) => hours.reduce((all, hour) => all + of(hour), 0)
      return [
        version,
        String(sum(({ invocations }) => invocations)),
        String(sum(({ errors }) => errors)),
        String(sum(({ throttles }) => throttles)),
        `${(sum(({ durationMs }) => durationMs) / 1000).toFixed(1)} s`,
        sum(({ gbSeconds }) => gbSeconds).toFixed(3),
      ]
    })
    for (const row of toColumns([HEADINGS, ...rows])) print(printable(row))
    return 0
  })
