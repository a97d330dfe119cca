/** The runtime of Node functions. Its environment says whether it has its function already, or is to wait for it. */
import { createRequire, Module } from "node:module"
import { cpus } from "node:os"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { beAssigned, WAITING } from "./assignment.ts"
import { openChannel, type Channel } from "./channel.ts"
import { rehearseReseedAfterRestore, reseed } from "./randomness.ts"
import { serve } from "./serving.ts"

/** Compilers of code that is run very often, and of what is run more than a few times. */
const [HOT, WARM] = [["opt", "maglev"], ["sparkplug"]]

const run = async () => {
  if (process.env[WAITING] === undefined) return serve(process.env, { isTraining: false })
  const isEmulated = cpus()[0]?.model.includes("TCG") === true
  const warm = isEmulated ? WARM : []
  optimise([...HOT, ...warm], false)
  let ahead: Channel | undefined
  for (;;) {
    const { isTraining } = beAssigned()
    if (isTraining) {
      reseed(() => 0)
      rehearseReseedAfterRestore()
    } else {
      reseed()
      if (!isEmulated) optimise(HOT, true)
    }
    const onFirstEvent = () => optimise(HOT, !isTraining)
    const onFirstAnswer = () => optimise(warm, !isTraining)
    await serve(process.env, { isTraining, ahead, onFirstEvent, onFirstAnswer })
    ahead = openChannel(process.env["AWS_LAMBDA_RUNTIME_API"] ?? "")
    await ahead.greeted
    forgetModules(process.env["LAMBDA_TASK_ROOT"] ?? "/")
    collect()
  }
}

/** Those of a function of training, which the next is not to find. */
const forgetModules = (directory: string) => {
  const { cache } = createRequire(import.meta.url)
  for (const name of Object.keys(cache)) if (name.startsWith(directory)) delete cache[name]
  const { _pathCache: paths } = Module as unknown as { _pathCache: Record<string, string> }
  for (const [asked, found] of Object.entries(paths)) if (found.startsWith(directory)) delete paths[asked]
}

/** What a function begins with has nothing that is to be tidied up in its time. */
const collect = () => {
  setFlagsFromString("--expose-gc")
  const collectNow = runInNewContext("gc") as (how: { type: "minor" }) => void
  setFlagsFromString("--no-expose-gc")
  collectNow({ type: "minor" })
}

/**
 * Whether code that is run often is compiled for that: not in training, and in an emulated VM not before the first event, or its answer.
 * There what was compiled is translated once more in each that comes from the snapshot, and so is the compiler; what interprets it is the
 * agent's, too.
 */
const optimise = (compilers: readonly string[], does: boolean) => {
  for (const compiler of compilers) setFlagsFromString(`--${does ? "" : "no-"}${compiler}`)
}

/** Not awaited by the module: a process in which nothing is left to do then ends like any other. */
void run()
