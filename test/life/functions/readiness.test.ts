/** What stands ready for functions that nobody has invoked yet. */
import type { LambdaClient } from "@aws-sdk/client-lambda"
import { expect, test } from "vitest"
import { startTestDaemon, type TestDaemon } from "../../fixtures/daemon.ts"
import { deploy, invoke, openLambda } from "../../fixtures/functions.ts"

const linesOf = ({ lines }: TestDaemon, msg: string) =>
  lines
    .map((line) => JSON.parse(line) as { msg: string; vmId?: string; need?: string })
    .filter((line) => line.msg === msg)

/** The VM that has come to stand loaded for that reason. */
const standing = async (daemon: TestDaemon, need: string): Promise<string | undefined> => {
  const found = () => linesOf(daemon, "A VM stands loaded for a runtime").filter((line) => line.need === need)
  await expect.poll(() => found().length, { timeout: 300_000 }).toBe(1)
  return found()[0]?.vmId
}

const asClient = async <Result>(daemon: TestDaemon, work: (lambda: LambdaClient) => Promise<Result>) => {
  const lambda = await openLambda(daemon)
  try {
    return await work(lambda)
  } finally {
    lambda.destroy()
  }
}

test("A VM stands loaded for a function that is deployed, and after a daemon's start for one that is there: its first event has it", async () => {
  await using daemon = await startTestDaemon({}, { environments: { maxWarmVms: 1, initSeconds: 120 } })
  const code = { "index.mjs": "export const handler = async ({ name }) => `hello ${name}`" }
  await asClient(daemon, (lambda) => deploy(lambda, "hello", "nodejs24.x", code))
  await standing(daemon, "deployment")
  await daemon.restart("SIGTERM")
  const vmId = await standing(daemon, "start")
  const { payload } = await asClient(daemon, (lambda) => invoke(lambda, "hello", { name: "you" }))
  expect(payload).toBe("hello you")
  await expect.poll(() => linesOf(daemon, "Environment").map((line) => line.vmId)).toContain(vmId)
})
