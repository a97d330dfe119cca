/**
 * How often functions were invoked in one chain of invocations: by destinations, or by a function that invokes another with the SDK, which
 * hands the trace on that it was given. A loop of them ends, as AWS ends one, after about sixteen rounds.
 */
import type { Lineage } from "../../src/db/function-values.ts"

/** How often a function is invoked in one chain. */
const MAX_ROUNDS = 16
/** What a function has that was told to stop in this chain, once. */
const STOPPED = MAX_ROUNDS + 1
/** Of one chain; those that come to it later aren't counted. */
const MAX_FUNCTIONS = 32

/** AWS's words of RecursiveInvocationException. */
export const LOOP_STOPPED =
  "Lambda has detected your function being invoked in a recursive loop with other Amazon Web Services resources and stopped your function's invocation."

/** How a chain names a function: eight hexadecimal digits. */
const keyOf = (functionId: string) => functionId.slice(0, 8)

const set = (lineage: Lineage, key: string, rounds: number): Lineage =>
  Object.hasOwn(lineage, key) || Object.keys(lineage).length < MAX_FUNCTIONS ? { ...lineage, [key]: rounds } : lineage

/** Whether the function is in a loop, and whether that has been told already. */
export const loopOf = (lineage: Lineage, functionId: string): "none" | "found" | "told" => {
  const rounds = lineage[keyOf(functionId)] ?? 0
  return rounds < MAX_ROUNDS ? "none" : rounds < STOPPED ? "found" : "told"
}

/** The chain behind a function that was invoked. */
export const afterRound = (lineage: Lineage, functionId: string): Lineage => {
  const rounds = lineage[keyOf(functionId)] ?? 0
  return set(lineage, keyOf(functionId), Math.max(rounds, Math.min(rounds + 1, MAX_ROUNDS)))
}

/** The chain behind a function that was stopped. */
export const afterStop = (lineage: Lineage, functionId: string): Lineage => set(lineage, keyOf(functionId), STOPPED)

const FIELD = /(?:^|;)Lineage=([^;]*)/g
const ROUNDS = /^([0-9a-f]{8}):(\d{1,2})$/

/**
 * The chain that an `X-Amzn-Trace-Id` tells of; empty when it tells of none in a form of ours. Strangers write it: it decides about the
 * invocation that it came with and those that follow from it, and about nobody else's.
 */
export const lineageOf = (traceId: string): Lineage => {
  const [, text = ""] = traceId.matchAll(FIELD).next().value ?? []
  const entries = text.split("|", MAX_FUNCTIONS).map((entry) => ROUNDS.exec(entry))
  return Object.fromEntries(
    entries.flatMap((found) => (found === null ? [] : [[found[1], Math.min(Number(found[2]), STOPPED)]])),
  ) as Lineage
}

/** The trace with this chain in it, and no other. */
export const withLineage = (traceId: string, lineage: Lineage): string => {
  const rounds = Object.entries(lineage).map(([key, count]) => `${key}:${count}`)
  return [traceId.replaceAll(FIELD, "").replace(/^;/, ""), `Lineage=${rounds.join("|")}`].filter(Boolean).join(";")
}
