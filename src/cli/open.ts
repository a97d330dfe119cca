import { withClient } from "./client.ts"
import type { CommandInput } from "./commands.ts"

const MAX_MINUTES = 60
const DEFAULT_PORT = 8080

/** `torpor open ID`: prints a link for a browser, and nothing else, so that it can be handed on. What is wrong with it the daemon says. */
export const open = async ({ config, args, options, print, signal }: CommandInput): Promise<number> =>
  withClient(config, async (client) => {
    const said = (name: string) => options.get(name)?.[0]
    const path = `/torpor/v1/microvms/${encodeURIComponent(args["ID"] ?? "")}/links`
    const wanted = {
      port: Number(said("port") ?? DEFAULT_PORT),
      path: said("path") ?? "/",
      expirationInMinutes: Number(said("minutes") ?? MAX_MINUTES),
    }
    const { url } = (await (await client.send("POST", path, signal, {}, wanted)).json()) as { url: string }
    print(url)
    return 0
  })
