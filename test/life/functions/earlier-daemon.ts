/** A daemon that had environments and died: run as a program it starts two, gives each an event, and waits to be killed. */
import { text } from "node:stream/consumers"
import { setTimeout as sleep } from "node:timers/promises"
import { eq } from "drizzle-orm"
import { environments as rows } from "../../../src/db/environments.ts"
import { openVmHostAt, type HostPlace } from "../../environments/vm-host-under-test.ts"
import { saidBeforeKilled } from "../../fixtures/killed-program.ts"
import { definitionOf, eventOf, openEnvironmentsUnderTest } from "./ground.ts"

export interface LeftBehind {
  /** Frozen, after one event. */
  readonly frozen: { readonly id: string; readonly answer: string; readonly tail: string; readonly initMs: number }
  /** At an event. */
  readonly busy: { readonly id: string; readonly initFailure: string | undefined }
}

/** Resolves when it has been ended by SIGKILL. */
export const leaveEnvironments = (place: HostPlace): Promise<LeftBehind> =>
  saidBeforeKilled(import.meta.filename, place)

if (import.meta.main) {
  const { signal } = new AbortController()
  const under = await openVmHostAt(JSON.parse(process.argv[2] ?? "") as HostPlace)
  const environments = await openEnvironmentsUnderTest(under)
  const frozen = await environments.start(definitionOf("frozen"), "on-demand", signal)
  const answer = frozen.invoke(eventOf("frozen", {}))
  const said = await text(answer.body)
  const { tail, initMs } = await answer.settled
  const busy = await environments.start(definitionOf("busy", { FAILS_ONCE: "1" }), "on-demand", signal)
  const { initFailure } = busy
  busy.invoke(eventOf("busy", { do: "hang" }))
  const isAtIt = async () => {
    const [row] = await under.host.db.select().from(rows).where(eq(rows.id, busy.id))
    return row?.state === "RUNNING" && (await under.host.live(row.vmId)?.vm.status()) === "running"
  }
  while (!(await isAtIt())) await sleep(50)
  console.log(
    JSON.stringify({
      frozen: { id: frozen.id, answer: said, tail: String(tail), initMs },
      busy: { id: busy.id, initFailure },
    }),
  )
}
