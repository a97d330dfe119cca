/** `torpor images df` and `torpor images prune`: what images, builds and functions take on the daemon's disk. */
import type { StorageRemoved, StorageUse } from "../../../machines/resources.ts"
import { withClient } from "../client.ts"
import type { CommandInput } from "../commands.ts"
import { sizeOf } from "../size.ts"
import { toColumns } from "../columns.ts"

/** As people call them, in the order in which they are shown. */
const NAMES: Readonly<Record<StorageUse["kind"], string>> = {
  artifacts: "uploaded artifacts",
  "function-code": "functions' zips",
  bases: "images' memory and disks",
  layers: "build steps",
  caches: "caches of RUN --mount",
  registry: "base images' layers",
  boots: "booted guests",
  runtimes: "runtimes' memory",
  "function-disks": "functions' code and layers",
  "function-snapshots": "functions' memory",
}

export const df = async ({ config, print, signal, options }: CommandInput): Promise<number> =>
  withClient(config, async (client) => {
    const { items } = (await (await client.send("GET", "/torpor/v1/images/usage", signal)).json()) as {
      items: StorageUse[]
    }
    if (options.has("json")) {
      print(JSON.stringify(items))
      return 0
    }
    const rows = items.map(({ kind, count, bytes, reclaimableBytes }) => [
      NAMES[kind],
      String(count),
      sizeOf(bytes),
      sizeOf(reclaimableBytes),
    ])
    for (const row of toColumns([["", "COUNT", "SIZE", "RECLAIMABLE"], ...rows])) print(row)
    return 0
  })

export const prune = async ({ config, print, signal }: CommandInput): Promise<number> =>
  withClient(config, async (client) => {
    const { items } = (await (await client.send("POST", "/torpor/v1/images/prune", signal)).json()) as {
      items: StorageRemoved[]
    }
    for (const { kind, count, bytes } of items)
      if (count > 0) print(`${NAMES[kind]}: ${count} removed, ${sizeOf(bytes)}`)
    print(`Reclaimed ${sizeOf(items.reduce((sum, { bytes }) => sum + bytes, 0))}`)
    return 0
  })
