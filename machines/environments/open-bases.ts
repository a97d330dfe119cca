/** The bases of this host's runtimes, each made of the runtime's disks when it is first wanted. */
import type { Artifacts } from "../../images/artifacts.ts"
import type { Runtimes } from "../../images/runtimes/runtime-disks.ts"
import { makeRuntimeBase } from "./base-making.ts"
import { createRuntimeBases, type RuntimeBases, type RuntimeBasesOptions } from "./runtime-bases.ts"

export interface BasesOptions extends Pick<RuntimeBasesOptions, "host" | "places"> {
  readonly artifacts: Artifacts
  readonly createOverlay: (path: string) => Promise<void>
  readonly runtimes: Pick<Runtimes, "of">
}

/** Opens them; disposing gives up what is being made. */
export const openBases = ({
  host,
  places,
  artifacts,
  createOverlay,
  runtimes,
}: BasesOptions): RuntimeBases & Disposable => {
  const closing = new AbortController()
  const bases = createRuntimeBases({
    host,
    places,
    systemDisk: artifacts.systemDisk,
    disksOf: (runtime, signal) => runtimes.of(runtime, signal),
    make: (base, signal) => makeRuntimeBase({ host, artifacts, createOverlay }, base, signal),
    signal: closing.signal,
  })
  return { ...bases, [Symbol.dispose]: () => closing.abort() }
}
