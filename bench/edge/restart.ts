/** A restart of the daemon as its users see it: how long the way to a MicroVM that runs on is closed. */
import { setTimeout as sleep } from "node:timers/promises"
import { TerminateMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import { createEndpoint } from "../../src/cli/endpoint.ts"
import type { TestDaemon } from "../../test/fixtures/daemon.ts"

const ROUNDS = 5
/** Between two tries to connect. */
const PAUSE_MS = 5
const PATIENCE_MS = 60_000

/** In ms, from the end of the old process to the first answer that comes over a new connection through the new one. */
export const restartDaemon = async (daemon: TestDaemon): Promise<number[]> => {
  const vm = await daemon.run({ image: "bench" })
  try {
    const closed: number[] = []
    while (closed.length < ROUNDS) {
      await answers(vm, daemon)
      await daemon.stop("SIGTERM")
      const startedAt = performance.now()
      const restarted = daemon.restart("SIGTERM")
      await Promise.all([restarted, untilAnswers(vm, daemon).then(() => closed.push(performance.now() - startedAt))])
    }
    return closed
  } finally {
    vm.close()
    await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
    await daemon.untilState(vm.id, "TERMINATED")
  }
}

/** Tries until somebody takes the connection. */
const untilAnswers = async (vm: { readonly name: string; readonly token: string }, daemon: TestDaemon) => {
  for (const until = performance.now() + PATIENCE_MS; ; await sleep(PAUSE_MS)) {
    try {
      return await answers(vm, daemon)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ECONNREFUSED" || performance.now() > until) throw error
    }
  }
}

/** Throws unless the MicroVM answers over a connection of its own. */
const answers = async ({ name, token }: { readonly name: string; readonly token: string }, { ca }: TestDaemon) => {
  const endpoint = createEndpoint(name, token, ca)
  try {
    const { status } = await endpoint.get("/")
    if (status !== 200) throw new Error(`The MicroVM answered ${status}`)
  } finally {
    endpoint.close()
  }
}
