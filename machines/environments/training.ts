/** Before a runtime's base is taken its runtime is started, runs functions of training, and waits: environments only give it its function. */
import { randomBytes, randomUUID } from "node:crypto"
import { LANGUAGES } from "../../images/runtimes/languages.ts"
import { isRuntimeName, RUNTIMES } from "../../images/runtimes/runtimes.ts"
import type { AgentClient } from "../../src/agent/client.ts"
import type { FunctionSpec, FunctionStep, InvocationSpec } from "../../src/agent/protocol.ts"
import { defaultSettings } from "../functions/default-settings.ts"
import type { Definition } from "../functions/definition.ts"
import { FUNCTION_DRIVES } from "../functions/disks/function-disks.ts"
import { toFunctionSpec } from "../functions/function-spec.ts"
import { functionMemoryOf } from "./memory-classes.ts"

/** After so many a guest's runtimes have done what they do for code that is run often; and so has the agent for what it does once for each function. */
const [ROUNDS, EVENTS] = [3, 4]

/** A runtime in a VM of this size. */
export interface Trained {
  readonly runtime: string
  readonly memoryMiB: number
}

/**
 * Leaves a runtime that waits in the guest; none where a function brings its own. The runtime's drive is mounted, and no other; its
 * disk is behind the code's drive too. Resolves with why it could not be trained: then the guest has no runtime, which a function's
 * start makes as ever.
 */
export const trainRuntime = async (agent: AgentClient, trained: Trained, signal: AbortSignal): Promise<unknown> => {
  if (handlersOf(trained.runtime).length === 0) return undefined
  try {
    await agent.startWaiting(specOf(trained).runtime, signal)
    for (let round = 0; round < ROUNDS; round++) {
      // Who connects is a part of it.
      agent.close()
      await trainAgain(agent, trained, EVENTS, signal)
    }
    return undefined
  } catch (error) {
    await agent.endFunction("FAILURE", signal)
    // By the next mount another disk is behind it; that it is not mounted is one of the ways to come here.
    await agent.unmountDrive(FUNCTION_DRIVES.code, signal).catch(() => {})
    return error
  }
}

/** Has a runtime that waits in the guest run its functions of training, each for so many events; nothing where there are none. */
export const trainAgain = async (agent: AgentClient, trained: Trained, events: number, signal: AbortSignal) => {
  for (const handler of handlersOf(trained.runtime)) {
    await agent.mountDrives([{ drive: FUNCTION_DRIVES.code, isReadOnly: true }], signal)
    // At once, as an environment's Init has them.
    const [, initialised] = await Promise.all([
      agent.startFunction(toTraining(specOf(trained), handler), signal),
      agent.untilInitialised(signal),
    ])
    refuse(initialised)
    refuse(await agent.restoreFunction({ env: {} }, signal))
    for (let n = 0; n < events; n++) await invoke(agent, n, signal)
    await agent.endTraining(signal)
    // By the next mount another disk may be behind it.
    await agent.unmountDrive(FUNCTION_DRIVES.code, signal)
  }
}

const refuse = ({ failed }: FunctionStep) => {
  if (failed !== null) throw new Error(`A runtime in training failed: ${failed}`)
}

const handlersOf = (runtime: string) => (isRuntimeName(runtime) ? LANGUAGES[RUNTIMES[runtime].language].trainings : [])

const specOf = (trained: Trained): FunctionSpec =>
  toFunctionSpec(toDefinition(trained), {
    // That does all that others do, and is restored besides.
    initialization: "snap-start",
    logGroup: "/aws/lambda/training",
    logStream: "training",
  })

const invoke = async (agent: AgentClient, n: number, signal: AbortSignal) => {
  // In the order that an environment's events have: the guest has seen what is of their shape.
  const event: InvocationSpec = {
    requestId: randomUUID(),
    functionArn: "arn:aws:lambda:us-east-1:000000000000:function:training",
    mode: "buffered",
    traceId: "Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0",
    deadlineMs: Date.now() + 60_000,
  }
  for await (const { kind, content } of agent.invokeFunction(event, Buffer.from(JSON.stringify({ n })), signal))
    if (kind === "failure") throw new Error(`A runtime in training failed: ${content.toString("latin1").slice(0, 500)}`)
}

/** The function of training that this handler is: its code is on the runtime's disk, which is behind the code's drive too. */
const toTraining = (spec: FunctionSpec, handler: string): FunctionSpec => {
  const { runtime } = spec
  return {
    ...spec,
    runtime: { ...runtime, env: { ...runtime.env, _HANDLER: handler } },
    // The last of it: what comes before is a function's.
    isTraining: true,
  }
}

/** Names and values that nobody has had before, as a function's are. */
const strange = (): Record<string, string> =>
  Object.fromEntries(Array.from({ length: 20 }, () => [`T${randomBytes(6).toString("hex")}`, randomUUID()]))

/** One with all that a function can have. */
const toDefinition = ({ runtime, memoryMiB }: Trained): Definition => ({
  id: "training",
  scope: { account: "000000000000", region: "us-east-1" },
  functionId: "training",
  versionId: "training",
  name: "training",
  version: "$LATEST",
  settings: {
    ...defaultSettings,
    runtime,
    handler: "training",
    timeoutSeconds: 60,
    memoryMiB: functionMemoryOf(memoryMiB),
  },
  environment: strange(),
  code: "",
  layers: ["training"],
})
