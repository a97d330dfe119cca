/**
 * What a process knows of randomness is in its memory, and so in every process that comes from its snapshot: the kernel's is other in each,
 * this makes the process's own so, too.
 */
import { randomBytes, randomFillSync, randomInt, randomUUID } from "node:crypto"
import { fileURLToPath } from "node:url"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

const RESEED = fileURLToPath(new URL("reseed.node", import.meta.url))
const reseedOpenssl = () => process.dlopen({ exports: {} }, RESEED)

/**
 * Of what `crypto` gives, and `Math.random`, which nobody but {@link rehearseReseedAfterRestore} may have asked before; with another `random`
 * it is only rehearsed. Throws in a runtime that cannot do it.
 */
export const reseed = (random = Math.random): void => {
  reseedOpenssl()
  if (rehearsed !== undefined) renewIntegers(rehearsed.integers)
  seedMathRandom(random)
}

/** Where the rehearsals have left integers, known to everybody who comes from their snapshot; of UUIDs they leave none. */
let rehearsed: { readonly integers: Uint8Array | undefined } | undefined

/**
 * The same where a function's code may have asked for random numbers before its snapshot was taken: answers what does it after the restore,
 * for which all that takes time is done now.
 */
export const readyToReseedAfterRestore = (): (() => void) => {
  // What has a seed keeps it: another context's has none yet.
  const random = runInNewContext("Math.random") as () => number
  // Bound: a closure would be compiled when it is first called, and that is after the restore.
  return reseedAfterRestore.bind(undefined, random, findKeptIntegers())
}

const reseedAfterRestore = (random: () => number, keptIntegers: Uint8Array | undefined) => {
  reseedOpenssl()
  for (let used = 0; used < KEPT_UUIDS; used++) randomUUID()
  renewIntegers(keptIntegers)
  seedMathRandom(random)
  Math.random = random
}

const renewIntegers = (kept: Uint8Array | undefined) => {
  if (kept !== undefined) randomFillSync(kept)
  else for (let used = 0; used < KEPT_INTEGERS; used++) randomInt(2)
}

/** What {@link readyToReseedAfterRestore} is and answers, without a seed for who comes after. */
export const rehearseReseedAfterRestore = (): void => {
  const { random } = Math
  readyToReseedAfterRestore()()
  Math.random = random
  rehearsed = { integers: findKeptIntegers() }
}

/** As many as Node makes at a time, and keeps until they are asked for. */
const [KEPT_UUIDS, KEPT_INTEGERS] = [128, 1024]

/** Where the integers are kept, known by how they are read; nothing where a Node reads them otherwise. */
const findKeptIntegers = (): Uint8Array | undefined => {
  const { readUIntBE } = Buffer.prototype
  const readers: Uint8Array[] = []
  const note = (reader: Buffer, place: Parameters<typeof readUIntBE>) => {
    readers.push(reader)
    return readUIntBE.apply(reader, place)
  }
  Buffer.prototype.readUIntBE = function (...place: Parameters<typeof readUIntBE>) {
    return note(this, place)
  }
  randomInt(2)
  Buffer.prototype.readUIntBE = readUIntBE
  return readers[0]
}

/** It is seeded when it is first asked, with the flag where that isn't 0; contexts made later are to have other seeds. */
const seedMathRandom = (random: () => number) => {
  setSeed((randomBytes(4).readUInt32LE() >>> 1) | 1)
  random()
  setSeed(0)
}

const setSeed = (seed: number) => setFlagsFromString(`--random-seed=${seed}`)
