import { Readable } from "node:stream"
import { describe, expect, it } from "vitest"
import type { Invoked, Invoker } from "../../../machines/functions/invoking/invoker.ts"
import { createInvokeOperations } from "../../../src/api/aws/functions/invoking/invoke-operations.ts"
import type { Call } from "../../../src/api/aws/operation.ts"
import { parseTarget } from "../../../src/api/aws/target.ts"

/** Invokes a function, whose caller goes as soon as the invoker has been asked. */
const invokeAndGo = (invoke: Invoker["invoke"]): Promise<unknown> => {
  const gone = new AbortController()
  const invoker: Invoker = {
    check: () => Promise.reject(new Error("not asked for")),
    invoke: async (request, signal) => {
      setImmediate(() => gone.abort(new Error("The client has gone")))
      return invoke(request, signal)
    },
  }
  const call: Call = {
    caller: { accessKeyId: "AKIA", account: "000000000000", region: "eu-central-1", requestId: "id" },
    identity: {} as Call["identity"],
    host: "localhost",
    headers: new Headers(),
    gone: gone.signal,
    patient: () => {},
  }
  const target = parseTarget("/2015-03-31/functions/hello/invocations")
  const intake = { accept: () => Promise.reject(new Error("not asked for")) }
  const operation = createInvokeOperations(invoker, intake).find(({ name }) => name === "Invoke")
  return operation!.run({ FunctionName: "hello" }, target, Buffer.from("{}"), call)
}

const theirDoing = { code: "RequestTimeoutException", status: 408 }

describe("A caller that goes is no error of ours", () => {
  it("while they wait for a place", async () => {
    const invoked = invokeAndGo(
      (_request, signal) =>
        new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error))),
    )
    await expect(invoked).rejects.toMatchObject(theirDoing)
  })

  it("in the middle of an answer", async () => {
    const body = new Readable({ read: () => {} })
    body.push("so far")
    const never = new Promise<never>(() => {})
    const answer: Invoked = {
      body,
      isStreamed: false,
      contentType: "text/plain",
      executedVersion: "1",
      end: never,
      settled: never,
    }
    await expect(invokeAndGo(() => Promise.resolve(answer))).rejects.toMatchObject(theirDoing)
  })
})
