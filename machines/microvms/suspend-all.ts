import { waitFor } from "xstate"
import type { MicrovmMachine } from "../microvm.ts"
import type { Registry } from "../registry.ts"

/** How long one VM may take to sleep before the others stop waiting for it. */
const TIMEOUT_MS = 60_000

/** Puts every MicroVM that runs to sleep, all at once; resolves with how many sleep when that is over. */
export const suspendAll = async (registry: Registry<MicrovmMachine>, signal: AbortSignal): Promise<number> => {
  const states = await Promise.all(
    registry.all().map(async (actor) => {
      // One that starts or wakes right now is first let come to rest.
      const settled = await waitFor(
        actor,
        (snapshot) =>
          snapshot.hasTag("awake") || snapshot.matches({ alive: "suspended" }) || !snapshot.matches("alive"),
        {
          signal,
          timeout: TIMEOUT_MS,
        },
      ).catch(() => undefined)
      if (settled?.hasTag("awake")) actor.send({ type: "SUSPEND", cause: "api" })
      return waitFor(actor, (snapshot) => snapshot.matches({ alive: "suspended" }), {
        signal,
        timeout: TIMEOUT_MS,
      }).then(
        () => true,
        () => false,
      )
    }),
  )
  return states.filter(Boolean).length
}
