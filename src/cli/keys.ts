import { withClient } from "./client.ts"
import type { CommandInput } from "./commands.ts"

/** `torpor keys rotate`: has the daemon sign tokens with a new key. */
export const rotate = async ({ config, print, signal }: CommandInput): Promise<number> =>
  withClient(config, async (client) => {
    const response = await client.send("POST", "/torpor/v1/keys/rotate", signal)
    const { keyId } = (await response.json()) as { keyId: string }
    print(`New tokens are signed with key ${keyId}. Those that were given out stay good until they expire.`)
    return 0
  })
