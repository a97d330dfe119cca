import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

/** What has no JavaScript that could be compiled, or none that V8 takes for it: asked to do so all the same, it ends the process. */
const UNFIT = /\[native code\]|use asm/

/** Compiles a function that else would be at its first call, so that what comes from a snapshot finds it so. Nothing happens where Node can't. */
export const compile = (handler: (...given: never[]) => unknown): void => {
  if (UNFIT.test(Function.prototype.toString.call(handler))) return
  setFlagsFromString("--allow-natives-syntax")
  try {
    const prepare = runInNewContext("(f) => %PrepareFunctionForOptimization(f)") as (f: typeof handler) => void
    prepare(handler)
  } catch {
    // It is compiled when it is called.
  } finally {
    setFlagsFromString("--no-allow-natives-syntax")
  }
}
