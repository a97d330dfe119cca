/** Whether a definition is worth a snapshot of its own, by what its environments have taken. */
import { LANGUAGES } from "../../../images/runtimes/languages.ts"
import { isRuntimeName, RUNTIMES } from "../../../images/runtimes/runtimes.ts"
import type { Definition } from "../../functions/definition.ts"
import { LATEST } from "../../functions/names.ts"

export interface SnapshotPolicy {
  /** Whether definitions have snapshots for which nobody has asked. */
  readonly isAutomatic: boolean
  /** An Init that takes less is done again. */
  readonly minInitMs: number
}

/** What an Init came to that went well. */
export interface MeasuredInit {
  readonly initMs: number
  readonly hasExtensions: boolean
}

/** A function's own variable, that says `off` where nobody shall be launched from its memory. */
export const OPT_OUT = "TORPOR_SNAPSHOTS"

/** A snapshot and a second Init are paid for by a few restores. */
const TIMES_FASTER = 2

/** Whether a snapshot is asked for, as AWS has it: of published versions. */
export const isAsked = ({ settings, version }: Pick<Definition, "settings" | "version">): boolean =>
  settings.snapStart === true && version !== LATEST

/** Whether its environments may be launched from a snapshot for which nobody has asked. Extensions are programs of others, who haven't been asked. */
export const mayHaveSnapshot = (
  { environment, settings }: Pick<Definition, "environment" | "settings">,
  { hasExtensions }: Pick<MeasuredInit, "hasExtensions">,
  { isAutomatic }: SnapshotPolicy,
): boolean =>
  isAutomatic &&
  !hasExtensions &&
  environment[OPT_OUT]?.toLowerCase() !== "off" &&
  isRuntimeName(settings.runtime) &&
  LANGUAGES[RUNTIMES[settings.runtime].language].isMadeForSnapshots

/** Whether a snapshot is worth making, when a restore takes about so long. */
export const isWorthwhile = ({ initMs }: MeasuredInit, restoreMs: number, { minInitMs }: SnapshotPolicy): boolean =>
  initMs >= minInitMs && initMs >= TIMES_FASTER * restoreMs

/** What a restore takes, by one more: a fast one says what is possible, a slow one little, since a busy host may have held it up. */
export const estimate = (knownMs: number | null, ms: number): number =>
  Math.round(knownMs === null || ms < knownMs ? ms : knownMs + (ms - knownMs) / 10)

/** The same of restores of one snapshot, which is taken to be of use until some in a row have shown that it isn't. */
export const estimateOf = (
  { initMs, restoreMs }: { readonly initMs: number; readonly restoreMs: number | null },
  ms: number,
): number => estimate(restoreMs ?? initMs / 2, Math.min(ms, 2 * initMs))
