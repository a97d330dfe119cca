/**
 * Places where a crash is worth testing. The daemon's main arms one by `TORPOR_FAIL_AT`; the process then kills itself there
 * with SIGKILL, so that recovery is tested from the very instant and not from near it. Unarmed it costs a comparison.
 */
export const failpoints = [
  "launch: row stored",
  "launch: loaded",
  "sleep: delta begun",
  "sleep: delta stored",
  "wake: loaded",
  "wake: consumed",
  "rehearsal: thawed",
  "build: step begun",
  "snapshot: initialised",
  "snapshot: written",
] as const
export type Failpoint = (typeof failpoints)[number]

let armed: Failpoint | undefined

/** Arms one point for the rest of this process. */
export const armFailpoint = (name: Failpoint) => {
  armed = name
}

/** Ends the process at once if this point is the armed one. */
export const failpoint = (name: Failpoint) => {
  if (armed === name) process.kill(process.pid, "SIGKILL")
}
