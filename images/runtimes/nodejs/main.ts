/** The runtime of Node functions. Its environment says whether it has its function already, or is to wait for it. */
import { createRequire } from "node:module"
import { beAssigned, WAITING } from "./assignment.ts"
import { readyToReseed, reseed } from "./randomness.ts"
import { serve } from "./serving.ts"

const run = async () => {
  if (process.env[WAITING] === undefined) return serve(process.env, false)
  readyToReseed()
  for (;;) {
    const { isTraining } = beAssigned()
    if (!isTraining) reseed()
    await serve(process.env, isTraining)
    forgetModules(process.cwd())
  }
}

/** Those of a function of training, which the next is not to find. */
const forgetModules = (directory: string) => {
  const { cache } = createRequire(import.meta.url)
  for (const name of Object.keys(cache)) if (name.startsWith(directory)) delete cache[name]
}

/** Not awaited by the module: a process in which nothing is left to do then ends like any other. */
void run()
