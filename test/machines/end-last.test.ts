import { expect, test } from "vitest"
import { endLast } from "../../machines/vms/end-last.ts"

/** A launch that gives up when it is told to, and takes its time for that. */
const slowToGiveUp = () => {
  const gaveUp = Promise.withResolvers<void>()
  const done: string[] = []
  const verbs = endLast({
    async launch(vmId: string) {
      try {
        await gaveUp.promise
      } finally {
        done.push(`launch of ${vmId} given up`)
      }
    },
    async end(vmId: string) {
      done.push(`end of ${vmId}`)
    },
  })
  return { ...verbs, gaveUp, done }
}

test("A VM ends when the launch that it interrupts has given back what it took", async () => {
  const { launch, end, gaveUp, done } = slowToGiveUp()
  const launched = launch("one")
  const ended = end("one")
  gaveUp.reject(new Error("aborted"))
  await expect(launched).rejects.toThrow("aborted")
  await ended
  expect(done).toEqual(["launch of one given up", "end of one"])
})

test("A VM waits for nothing that is done to another, or was done to it before", async () => {
  const { launch, end, gaveUp, done } = slowToGiveUp()
  const launched = launch("one")
  await end("other")
  gaveUp.resolve()
  await launched
  await end("one")
  expect(done).toEqual(["end of other", "launch of one given up", "end of one"])
})
