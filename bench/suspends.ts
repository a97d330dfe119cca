/** Whether a request is ever lost to a sleep: MicroVMs suspended at random moments, while clients send at random moments. */
import { buildWitness, soak } from "../test/suspends/soak.ts"
import type { Bench } from "./bench.ts"
import { timed } from "./samples.ts"

const VMS = 3

export const suspends: Bench = {
  summary: "random suspends under load (--rounds of them): nothing failed, nothing doubled, no VM in a wrong state",
  claims: [],
  async run({ daemon, rounds, progress }) {
    const seed = Math.floor(Math.random() * 2 ** 31)
    progress(`suspends: ${rounds} of ${VMS} MicroVMs, seed ${seed}`)
    await buildWitness(daemon)
    let found: Awaited<ReturnType<typeof soak>> | undefined
    const tookMs = await timed(async () => {
      const options = { count: rounds, vms: VMS, seed, progress: (line: string) => progress(`suspends: ${line}`) }
      found = await soak(daemon, options)
    })
    const { suspends: reached = 0, answered = 0, givenUp = 0, wrong = [] } = found ?? {}
    progress(`suspends: ${reached} reached; ${answered} requests answered, ${givenUp} given up, ${wrong.length} wrong`)
    if (wrong.length > 0) throw new Error(`Random suspends, seed ${seed}:\n${wrong.join("\n")}`)
    return { "a random suspend, its wake and what is between": { unit: "ms", values: [tookMs / reached] } }
  },
}
