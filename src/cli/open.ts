import { withClient } from "./client.ts"
import type { CommandInput } from "./commands.ts"
import { portOf, wholeNumberOf } from "./number-options.ts"

const MAX_MINUTES = 60

/** `torpor open ID`: prints a link for a browser, and nothing else, so that it can be handed on. What is wrong with it the daemon says. */
export const open = async ({ config, args, options, print, signal }: CommandInput): Promise<number> => {
  const wanted = {
    port: portOf(options),
    path: options.get("path")?.[0] ?? "/",
    expirationInMinutes: wholeNumberOf(options, "minutes", { least: 1, most: MAX_MINUTES, otherwise: MAX_MINUTES }),
  }
  return withClient(config, async (client) => {
    const path = `/torpor/v1/microvms/${encodeURIComponent(args["ID"] ?? "")}/links`
    const { url } = (await (await client.send("POST", path, signal, {}, wanted)).json()) as { url: string }
    print(url)
    return 0
  })
}
