import { expect, test } from "vitest"
import { createWork } from "../../machines/work.ts"

test("Verbs are at work from their call until they have settled, however they end", async () => {
  const work = createWork()
  const [one, other] = [Promise.withResolvers<string>(), Promise.withResolvers<string>()]
  const verbs = work.count({ launch: () => one.promise, end: () => other.promise })
  expect(await work.settled(0)).toBe(0)
  const launching = verbs.launch()
  const ending = verbs.end()
  expect(await work.settled(0)).toBe(2)
  const settled = work.settled(60_000)
  one.reject(new Error("aborted"))
  await expect(launching).rejects.toThrow("aborted")
  expect(await work.settled(0)).toBe(1)
  other.resolve("done")
  expect(await ending).toBe("done")
  expect(await settled).toBe(0)
})

test("Who closes waits no longer than it is patient", async () => {
  const work = createWork()
  void work.count({ watch: () => new Promise<void>(() => {}) }).watch()
  expect(await work.settled(1)).toBe(1)
})
