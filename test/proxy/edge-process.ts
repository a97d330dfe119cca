/** An edge in a process of its own, so that its memory is nobody else's. Run by itself it is that process. */
import { fork } from "node:child_process"
import { once } from "node:events"
import { readFile, writeFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { openTestEdge } from "./test-edge.ts"

/** What a client needs to come in. */
interface Entrance {
  readonly port: number
  readonly ca: string
  readonly name: string
  readonly token: string
}

export interface EdgeProcess extends Entrance, AsyncDisposable {
  /** How much its memory has grown at most since it was last asked. */
  peakGrowthMiB(): Promise<number>
}

export const startEdgeProcess = async (): Promise<EdgeProcess> => {
  const child = fork(fileURLToPath(import.meta.url), ["serve"])
  const [entrance] = (await once(child, "message")) as [Entrance]
  const proc = `/proc/${child.pid}`
  const statusOf = async (name: string) => {
    const [, kiB] = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(await readFile(`${proc}/status`, "utf8")) ?? []
    return Number(kiB) / 1024
  }
  let before = await statusOf("VmRSS")
  return {
    ...entrance,
    async peakGrowthMiB() {
      const growth = (await statusOf("VmHWM")) - before
      // Its peak counts from here: proc(5), clear_refs.
      await writeFile(`${proc}/clear_refs`, "5")
      before = await statusOf("VmRSS")
      return growth
    },
    async [Symbol.asyncDispose]() {
      child.disconnect()
      const [code] = (await once(child, "exit")) as [number | null]
      if (code !== 0) throw new Error(`The edge's process ended with ${code}`)
    },
  }
}

if (process.argv[2] === "serve") {
  const { edge, ca, vm, ...opened } = await openTestEdge()
  process.send?.({ port: edge.port, ca, name: vm.name, token: vm.token } satisfies Entrance)
  await once(process, "disconnect")
  await opened[Symbol.asyncDispose]()
}
