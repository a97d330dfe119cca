import { Readable } from "node:stream"
import type { FunctionFailure } from "../../../../machines/environments/environments.ts"
import type { InvokeRequest, Invoker } from "../../../../machines/functions/invoking/invoker.ts"

/** What a function makes of an event: a response, a failure, or a refusal that is thrown. */
export type Script = (request: InvokeRequest, signal: AbortSignal) => Promise<Buffer | FunctionFailure>

/** An invoker by its contract, whose functions do what a script says. */
export const createScriptedInvoker = (script: Script): Invoker => ({
  async invoke(request, signal) {
    const made = await script(request, signal)
    const response = Buffer.isBuffer(made) ? made : undefined
    return {
      executedVersion: "$LATEST",
      contentType: "application/json",
      isStreamed: false,
      body: Readable.from(response === undefined ? [] : [response]),
      end: Promise.resolve(Buffer.isBuffer(made) ? undefined : made),
      settled: Promise.resolve({
        durationMs: 1,
        billedMs: 1,
        initMs: undefined,
        maxMemoryBytes: 0,
        tail: Buffer.alloc(0),
      }),
    }
  },
  check: () => Promise.resolve(),
})

/** How a function fails that throws. */
export const thrown = (errorMessage: string): FunctionFailure => ({
  errorType: "Error",
  body: Buffer.from(JSON.stringify({ errorType: "Error", errorMessage })),
})
