/**
 * How often an event has come through a function on its way from destination to destination. A loop of them ends, as AWS ends one, after
 * about sixteen rounds.
 */
import type { Lineage } from "../../../src/db/function-values.ts"

/** How often a function is invoked in one chain of events. */
export const MAX_ROUNDS = 16
/** What a function has that was told to stop in this chain, once. */
const STOPPED = MAX_ROUNDS + 1
/** Of one chain; those that come to it later aren't counted. */
const MAX_FUNCTIONS = 64

const set = (lineage: Lineage, functionId: string, rounds: number): Lineage =>
  Object.hasOwn(lineage, functionId) || Object.keys(lineage).length < MAX_FUNCTIONS
    ? { ...lineage, [functionId]: rounds }
    : lineage

/** Whether the function is in a loop, and whether that has been told already. */
export const loopOf = (lineage: Lineage, functionId: string): "none" | "found" | "told" => {
  const rounds = lineage[functionId] ?? 0
  return rounds < MAX_ROUNDS ? "none" : rounds < STOPPED ? "found" : "told"
}

/** The chain behind a function that was invoked. */
export const afterRound = (lineage: Lineage, functionId: string): Lineage => {
  const rounds = lineage[functionId] ?? 0
  return set(lineage, functionId, Math.max(rounds, Math.min(rounds + 1, MAX_ROUNDS)))
}

/** The chain behind a function that was stopped. */
export const afterStop = (lineage: Lineage, functionId: string): Lineage => set(lineage, functionId, STOPPED)
