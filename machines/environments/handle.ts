/** One environment in the hands of whoever gives it events. */
import { waitFor, type Actor, type SnapshotFrom } from "xstate"
import { VMM_OVERHEAD_MIB } from "../../src/capacity/ledger.ts"
import { isReady, toEnvironmentState, type EnvironmentMachine } from "../environment.ts"
import { createAnswer } from "./answer.ts"
import type { EnvironmentRow } from "./environment-row.ts"
import type { Environment } from "./environments.ts"
import type { Session } from "./session.ts"

/** Rejects with what happened when it comes to its end instead; ends it when nobody waits for it any more. */
export const untilReady = async (
  actor: Actor<EnvironmentMachine>,
  environment: Environment,
  signal: AbortSignal,
): Promise<void> => {
  const isSettled = (snapshot: SnapshotFrom<EnvironmentMachine>) => isReady(snapshot) || !snapshot.matches("alive")
  try {
    const snapshot = await waitFor(actor, isSettled, { timeout: Infinity, signal })
    if (!isReady(snapshot)) throw new Error(snapshot.context.stateReason ?? "The environment ended before it began")
  } catch (error) {
    if (signal.aborted) environment.end("request", "Nobody waited for it any more.")
    throw error
  }
}

/** As those see it who give it events. */
export const toEnvironment = (
  row: EnvironmentRow,
  session: Session,
  actor: Actor<EnvironmentMachine>,
  vmMemoryMiB: number,
  over: Promise<void>,
): Environment => {
  const { desk } = session
  return {
    id: row.id,
    definitionId: row.definitionId,
    functionId: row.functionId,
    initialization: row.initialization,
    over,
    get memoryMiB() {
      return toEnvironmentState(actor.getSnapshot()) === "SUSPENDED" ? 0 : vmMemoryMiB + VMM_OVERHEAD_MIB
    },
    get initFailure() {
      return session.initFailure
    },
    get isOver() {
      return !isReady(actor.getSnapshot())
    },
    invoke(event) {
      const answer = createAnswer()
      if (!isReady(actor.getSnapshot())) {
        answer.refuse(new Error(`Environment ${row.id} is over`))
        return answer.answer
      }
      if (desk.activity.open > 0) throw new Error(`Environment ${row.id} is at an event`)
      desk.activity.open = 1
      desk.activity.lastAt = Date.now()
      void answer.answer.settled.then(() => {
        desk.activity.open = 0
        desk.activity.lastAt = Date.now()
      })
      desk.given = { event, answer }
      actor.send({ type: "GIVEN" })
      return answer.answer
    },
    deflate: () => actor.send({ type: "DEFLATE" }),
    end: (cause, reason) => actor.send({ type: "TERMINATE", cause, reason }),
  }
}
