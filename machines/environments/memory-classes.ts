/**
 * How large the VM of a function is. Few sizes, since each has a base of its own; what a function may use of its VM is its control
 * group's limit, so one size serves all that are not larger than its first column.
 */
const CLASSES: readonly (readonly [functionMiB: number, vmMiB: number])[] = [
  [128, 384],
  [256, 512],
  [512, 768],
  [1024, 1280],
  [2048, 2304],
  [3008, 3328],
  [4096, 4416],
  [6144, 6528],
  [8192, 8640],
  [10_240, 10_752],
]

/** The RAM of a VM for a function with this much memory. */
export const vmMemoryOf = (functionMiB: number): number => {
  const found = CLASSES.find(([most]) => functionMiB <= most)
  if (found === undefined) throw new Error(`There is no VM for a function of ${functionMiB} MiB`)
  return found[1]
}

/** However long one waits, this host will never hold a VM of such a function. */
export class HostTooSmall extends Error {
  override readonly name = "HostTooSmall"

  constructor(functionMiB: number) {
    super(`This host has too little memory for an execution environment of ${functionMiB} MB.`)
  }
}

/** The memory of the largest function that such a VM is for. */
export const functionMemoryOf = (vmMiB: number): number => {
  const found = CLASSES.find(([, its]) => its === vmMiB)
  if (found === undefined) throw new Error(`No function has a VM of ${vmMiB} MiB`)
  return found[0]
}
