/**
 * What a process knows of randomness is in its memory, and so in every process that comes from its snapshot: the kernel's is other in each,
 * this makes the process's own so, too.
 */
import { randomBytes, randomInt, randomUUID } from "node:crypto"
import { fileURLToPath } from "node:url"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

const reseedOpenssl = () => process.dlopen({ exports: {} }, fileURLToPath(new URL("reseed.node", import.meta.url)))

/** Of what `crypto` gives, and `Math.random`, which nobody may have asked before; with another `random` it is only rehearsed. Throws in a runtime that cannot do it. */
export const reseed = (random = Math.random): void => {
  reseedOpenssl()
  seedMathRandom(random)
}

/**
 * The same where a function's code may have asked for random numbers before its snapshot was taken: answers what does it after the restore,
 * for which all that takes time is done now.
 */
export const readyToReseedAfterRestore = (): (() => void) => {
  // What has a seed keeps it: another context's has none yet.
  const random = runInNewContext("Math.random") as () => number
  reseedOpenssl()
  useUp()
  return () => {
    reseedOpenssl()
    useUp()
    seedMathRandom(random)
    Math.random = random
  }
}

/** Each keeps some that are ready. */
const useUp = () => {
  for (let used = 0; used < KEPT_UUIDS; used++) randomUUID()
  for (let used = 0; used < KEPT_INTEGERS; used++) randomInt(2)
}

/** As many as Node makes at a time. */
const [KEPT_UUIDS, KEPT_INTEGERS] = [128, 1024]

/** It is seeded when it is first asked, with the flag where that isn't 0; contexts made later are to have other seeds. */
const seedMathRandom = (random: () => number) => {
  setSeed((randomBytes(4).readUInt32LE() >>> 1) | 1)
  random()
  setSeed(0)
}

const setSeed = (seed: number) => setFlagsFromString(`--random-seed=${seed}`)
