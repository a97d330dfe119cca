/** A restart of the daemon as its users see it: how long the way to a MicroVM that runs on is closed. */
import { TerminateMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import { createEndpoint } from "../../src/cli/endpoint.ts"
import type { TestDaemon } from "../../test/fixtures/daemon.ts"

const ROUNDS = 5

/** In ms, from the end of the old process to the first answer that comes over a new connection through the new one. */
export const restartDaemon = async (daemon: TestDaemon): Promise<number[]> => {
  const vm = await daemon.run({ image: "bench" })
  try {
    const closed: number[] = []
    while (closed.length < ROUNDS) {
      await answers(vm, daemon)
      await daemon.stop("SIGTERM")
      const startedAt = performance.now()
      await daemon.restart("SIGTERM")
      await answers(vm, daemon)
      closed.push(performance.now() - startedAt)
    }
    return closed
  } finally {
    vm.close()
    await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
    await daemon.untilState(vm.id, "TERMINATED")
  }
}

/** Throws unless the MicroVM answers over a connection of its own. */
const answers = async ({ name, token }: { readonly name: string; readonly token: string }, { ca }: TestDaemon) => {
  const endpoint = createEndpoint(name, token, ca)
  const { status } = await endpoint.get("/")
  endpoint.close()
  if (status !== 200) throw new Error(`The MicroVM answered ${status}`)
}
