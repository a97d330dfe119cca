/** Where an environment's event lies until it is served, and how much it is in use: facts in memory, gone with the daemon as its caller is. */
import { createActivity, type Activity } from "../activity.ts"
import type { HostAnswer } from "./answer.ts"
import type { EnvironmentEvent } from "./environments.ts"

export interface Given {
  readonly event: EnvironmentEvent
  readonly answer: HostAnswer
}

export interface Desk {
  readonly activity: Activity
  /** What waits; taken by who serves it. */
  given: Given | undefined
}

export const createDesk = (): Desk => ({ activity: createActivity(), given: undefined })

/** What lay there, which lies there no more. */
export const takeGiven = (desk: Desk): Given | undefined => {
  const { given } = desk
  desk.given = undefined
  return given
}
