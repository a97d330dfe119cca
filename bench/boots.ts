import type { Bench } from "./bench.ts"
import { openColdBoots } from "./cold-boot.ts"

const AT_ONCE = 4
const BOOTS = 50

/** Many cold boots on a machine that is busier than it has processors: one that hangs fails the bench. */
export const boots: Bench = {
  summary: `${BOOTS} cold boots, ${AT_ONCE} at a time; one that hangs fails it`,
  claims: [],
  async run({ daemon, progress, opened }) {
    const cold = opened.use(await openColdBoots(daemon, AT_ONCE))
    const values: number[] = []
    const name = `cold boot, ${AT_ONCE} at a time`
    let begun = 0
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        while (begun++ < BOOTS) {
          values.push(await cold.boot())
          progress(`boots: ${values.length} of ${BOOTS}`)
        }
      }),
    )
    return { [name]: { unit: "ms", values } }
  },
}
