import { Refusal } from "./refusal.ts"

/** Where a runtime stands, in the Runtime API's own words: refusals name them. */
export type RuntimeState =
  | "Started"
  | "InitError"
  | "RestoreReady"
  | "Restoring"
  | "RestoreError"
  | "Ready"
  | "Running"
  | "InvocationResponse"
  | "InvocationErrorResponse"
  | "ResponseSent"

/**
 * ```
 * Started ──────────────────────────────▶ Ready ⇄ Running ─▶ InvocationResponse ──────▶ ResponseSent ─▶ Ready
 *   │ └▶ RestoreReady ─▶ Restoring ─┬──────▲         ▲  └──▶ InvocationErrorResponse ──▶
 *   ▼                               ▼                └────── a buffered response that was cut off
 * InitError                     RestoreError
 * ```
 */
const FOLLOWS: Readonly<Record<RuntimeState, readonly RuntimeState[]>> = {
  Started: ["Ready", "InitError", "RestoreReady"],
  InitError: [],
  RestoreReady: ["RestoreReady", "Restoring"],
  Restoring: ["Ready", "RestoreError"],
  RestoreError: [],
  // A client that has lost its connection asks again.
  Ready: ["Ready", "Running"],
  Running: ["InvocationResponse", "InvocationErrorResponse"],
  InvocationResponse: ["ResponseSent", "Running"],
  InvocationErrorResponse: ["ResponseSent", "Running"],
  ResponseSent: ["Ready"],
}

/** The runtime's place, which only moves as the Runtime API lets it; what it may not do is refused to its client. */
export const createRuntimeState = () => {
  let state: RuntimeState = "Started"
  return {
    get now() {
      return state
    },
    move(to: RuntimeState) {
      if (!FOLLOWS[state].includes(to))
        throw new Refusal(
          403,
          "InvalidStateTransition",
          `State transition from ${state} to ${to} failed for runtime. Error: State transition is not allowed`,
        )
      state = to
    },
  }
}
