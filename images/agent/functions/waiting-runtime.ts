/**
 * A runtime that was started before there is a function for it, and waits in its container: for functions of training, and then for the
 * one whose it is from then on, when it could have been started for that just the same.
 */
import type { ProcessSpec } from "../../../src/agent/protocol.ts"
import type { ProcessTable } from "../process-table.ts"

export interface WaitingRuntime {
  /** Whether it can become a runtime of this spec, and lives. */
  canBecome(spec: ProcessSpec): boolean
  /** It goes on as one of this spec; not in training, it waits no more. */
  become(spec: ProcessSpec, isTraining: boolean): void
  /** A drive has been mounted, of which it finds its own from now on. */
  fill(drive: number): void
  /** A drive is about to be unmounted. */
  empty(drive: number): void
}

/** Tells the bootstraps of images/runtimes that they are to wait. */
const WAITING = { _TORPOR_WAITING: "1" }

/** Variables that are read when a process starts, or a library is loaded or first used, and never again. */
const START_ONLY =
  /^(?:NODE_(?!ENV$)\w*|UV_\w*|PYTHON\w*|RUBY\w*|JAVA_\w*|JDK_JAVA_OPTIONS|_JAVA_OPTIONS|LD_\w*|GLIBC_TUNABLES|MALLOC_\w*|OPENSSL_\w*|SSL_CERT_\w*|LANG|LANGUAGE|LC_\w*|PATH|HOME|ICU_DATA|AWS_LAMBDA_EXEC_WRAPPER|LAMBDA_RUNTIME_DIR)$/

/** What can be assigned: all else is so from a process's start to its end. */
const ASSIGNED: readonly string[] = ["cwd", "mounts", "memoryMaxMiB", "pidsMax"] satisfies (keyof ProcessSpec)[]

/** As text, which is compared at once: the host writes every spec's members in the same order. */
const fixedOf = (spec: ProcessSpec): string =>
  JSON.stringify([
    Object.entries(spec).filter(([name]) => name !== "env" && !ASSIGNED.includes(name)),
    Object.entries(spec.env)
      .filter(([name]) => START_ONLY.test(name))
      .toSorted(([one], [other]) => (one < other ? -1 : 1)),
  ])

/** Starts it as the process `name`; it belongs to the table, as every process. */
export const startWaiting = async (
  processes: ProcessTable,
  name: string,
  spec: ProcessSpec,
): Promise<WaitingRuntime> => {
  await processes.start(name, { ...spec, env: { ...spec.env, ...WAITING } }, true)
  let isOver = false
  void processes.ended(name).then(() => (isOver = true))
  const fixed = fixedOf(spec)
  const mounts = new Set((spec.mounts ?? []).map((mount) => JSON.stringify(mount)))
  return {
    canBecome: (wanted) =>
      !isOver && fixedOf(wanted) === fixed && (wanted.mounts ?? []).every((mount) => mounts.has(JSON.stringify(mount))),
    become: (wanted, isTraining) => processes.assign(name, wanted, isTraining),
    fill: (drive) => !isOver && processes.fill(name, drive),
    empty: (drive) => !isOver && processes.empty(name, drive),
  }
}
