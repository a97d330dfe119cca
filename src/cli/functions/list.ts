import { withClient } from "../client.ts"
import { toColumns } from "../columns.ts"
import type { CommandInput } from "../commands.ts"
import { printable } from "../log-lines.ts"
import { sizeOf } from "../size.ts"

/** What is shown of a function, as ListFunctions says it. */
interface Listed {
  readonly FunctionName: string
  readonly Runtime: string
  readonly MemorySize: number
  readonly Timeout: number
  readonly CodeSize: number
  readonly LastModified: string
}

const HEADINGS = ["NAME", "RUNTIME", "MEMORY", "TIMEOUT", "CODE", "CHANGED"]

/** `torpor functions ls`: the functions of the account, by name. */
export const list = async ({ config, options, print, signal }: CommandInput): Promise<number> =>
  withClient(config, async (client) => {
    const functions: Listed[] = []
    for (let marker: string | undefined; ;) {
      const query = marker === undefined ? {} : { Marker: marker }
      const response = await client.askLambda({ method: "GET", path: "/2015-03-31/functions/", query }, signal)
      const page = (await response.json()) as { Functions: Listed[]; NextMarker?: string }
      functions.push(...page.Functions)
      marker = page.NextMarker
      if (marker === undefined) break
    }
    if (options.has("json")) {
      print(JSON.stringify(functions))
      return 0
    }
    const rows = functions.map((one) => [
      one.FunctionName,
      one.Runtime,
      `${one.MemorySize} MiB`,
      `${one.Timeout} s`,
      sizeOf(one.CodeSize),
      one.LastModified.replace(/\.\d+\+0000$/, "Z"),
    ])
    const isText = (column: number) => column < 2 || column === HEADINGS.length - 1
    for (const row of toColumns([HEADINGS, ...rows], isText)) print(printable(row))
    return 0
  })
