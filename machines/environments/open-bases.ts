/** The bases of this host's runtimes, each made of the runtime's disks when it is first wanted. */
import type { Artifacts } from "../../images/artifacts.ts"
import type { BootSnapshots } from "../building/boot-snapshots.ts"
import type { VmHost } from "../vm.ts"
import { takeRuntimeBase } from "./base-making.ts"
import type { RuntimeGrounds } from "./runtime-grounds.ts"
import { createRuntimeBases, type RuntimeBases, type RuntimeBasesOptions } from "./runtime-bases.ts"

export interface BasesOptions extends Pick<RuntimeBasesOptions, "places" | "maxBytes"> {
  readonly host: VmHost & RuntimeBasesOptions["host"]
  readonly artifacts: Artifacts
  readonly snapshots: BootSnapshots
  readonly createOverlay: (path: string) => Promise<void>
  readonly grounds: RuntimeGrounds
}

/** Opens them; disposing gives up what is being made, and waits until nothing is left of it. */
export const openBases = ({
  host,
  places,
  artifacts,
  snapshots,
  createOverlay,
  grounds,
  maxBytes,
}: BasesOptions): RuntimeBases & AsyncDisposable => {
  const closing = new AbortController()
  const bases = createRuntimeBases({
    host,
    places,
    systemDisk: artifacts.systemDisk,
    disksOf: (runtime, signal) => grounds.of(runtime, signal),
    make: (base, signal) => takeRuntimeBase({ host, artifacts, snapshots, createOverlay }, base, signal),
    maxBytes,
    signal: closing.signal,
  })
  return {
    ...bases,
    async [Symbol.asyncDispose]() {
      closing.abort()
      await bases[Symbol.asyncDispose]()
    },
  }
}
