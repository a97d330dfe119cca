import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const PROGRAM = fileURLToPath(new URL("../../../../node_modules/fauxqs/dist/cli.js", import.meta.url))

export interface QueuedMessage {
  readonly body: string
  readonly messageAttributes: Record<string, { DataType: string; StringValue: string }>
}

export interface QueueServer extends AsyncDisposable {
  readonly endpoint: string
  /** What is in a queue. */
  messages(queue: string): Promise<QueuedMessage[]>
}

/** A server of SQS and SNS, in a process of its own, with these queues and topics. */
export const startQueueServer = async (setup: object): Promise<QueueServer> => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-queues-"))
  const file = join(directory, "init.json")
  await writeFile(file, JSON.stringify(setup))
  const child = spawn(process.execPath, [PROGRAM], {
    env: { ...process.env, FAUXQS_PORT: "0", FAUXQS_INIT: file },
    stdio: ["ignore", "pipe", "inherit"],
  })
  const port = await new Promise<string>((resolve, reject) => {
    let said = ""
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      said += chunk
      const [, found] = /listening at http:\/\/127\.0\.0\.1:(\d+)/.exec(said) ?? []
      if (found !== undefined) resolve(found)
    })
    child.once("exit", () => reject(new Error(`The server of queues has ended: ${said}`)))
  })
  const endpoint = `http://127.0.0.1:${port}`
  return {
    endpoint,
    async messages(queue) {
      const response = await fetch(`${endpoint}/_fauxqs/queues/${queue}`)
      const { messages } = (await response.json()) as { messages: { ready: QueuedMessage[] } }
      return messages.ready
    },
    async [Symbol.asyncDispose]() {
      const ended = once(child, "exit")
      child.kill("SIGKILL")
      await ended
      await rm(directory, { recursive: true })
    },
  }
}
