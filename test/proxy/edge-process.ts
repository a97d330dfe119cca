/** An edge in a process of its own, so that its memory is nobody else's. Run by itself it is that process. */
import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { EdgeLimits } from "../../proxy/server.ts"
import { collectedHeapMiB } from "../fixtures/collected-heap.ts"
import { watchMemory, type ProcessMemory } from "../fixtures/process-memory.ts"
import { openTestEdge } from "./test-edge.ts"

/** What a client needs to come in. */
interface Entrance {
  readonly port: number
  readonly ca: string
  readonly name: string
  readonly token: string
}

export interface EdgeProcess extends Entrance, ProcessMemory, AsyncDisposable {
  /** What its heap holds once all of it is collected. */
  heapMiB(): Promise<number>
}

export const startEdgeProcess = async (limits: Partial<EdgeLimits> = {}): Promise<EdgeProcess> => {
  const child = fork(fileURLToPath(import.meta.url), ["serve", JSON.stringify(limits)])
  const [entrance] = (await once(child, "message")) as [Entrance]
  return {
    ...entrance,
    ...(await watchMemory(child.pid ?? 0)),
    async heapMiB() {
      child.send("collect")
      const [mebibytes] = (await once(child, "message")) as [number]
      return mebibytes
    },
    async [Symbol.asyncDispose]() {
      child.disconnect()
      const [code] = (await once(child, "exit")) as [number | null]
      if (code !== 0) throw new Error(`The edge's process ended with ${code}`)
    },
  }
}

if (process.argv[2] === "serve") {
  const { edge, ca, vm, ...opened } = await openTestEdge(JSON.parse(process.argv[3] ?? "{}") as Partial<EdgeLimits>)
  process.on("message", async () => process.send?.(await collectedHeapMiB()))
  process.send?.({ port: edge.port, ca, name: vm.name, token: vm.token } satisfies Entrance)
  await once(process, "disconnect")
  await opened[Symbol.asyncDispose]()
}
