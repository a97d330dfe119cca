import { expect, test } from "vitest"
import { createConcurrency } from "../../../machines/functions/invoking/throttles/concurrency.ts"

const { signal } = new AbortController()
const shares = { reserved: 1, provisioned: new Map<string, number>() }
const request = { scope: { account: "000000000000", region: "us-east-1" }, functionId: "f", reserved: 1, shares }
const throttled = { status: 429, members: { Reason: "ReservedFunctionConcurrentInvocationLimitExceeded" } }

test("A place whose event has its answer is the next one's as soon as it is free, and nobody's before", async () => {
  const concurrency = createConcurrency(10)
  const first = await concurrency.enter(request, signal)
  await expect(concurrency.enter(request, signal)).rejects.toMatchObject(throttled)
  first.answered()
  const next = concurrency.enter(request, signal)
  await expect(concurrency.enter(request, signal)).rejects.toMatchObject(throttled)
  expect(concurrency.count).toBe(1)
  first.leave()
  expect(concurrency.count).toBe(1)
  const second = await next
  await expect(concurrency.enter(request, signal)).rejects.toMatchObject(throttled)
  second.answered()
  second.leave()
  expect(concurrency.count).toBe(0)
})

test("Whoever waits for one is refused when much is done after its answer, and gives it up by leaving", async () => {
  const concurrency = createConcurrency(10)
  const first = await concurrency.enter(request, signal)
  first.answered()
  await expect(concurrency.enter(request, signal)).rejects.toMatchObject(throttled)
  const gone = new AbortController()
  const given = concurrency.enter(request, gone.signal)
  gone.abort(new Error("The caller is gone"))
  await expect(given).rejects.toThrow("The caller is gone")
  first.leave()
  expect(concurrency.count).toBe(0)
})

test("A place that the function has lost meanwhile is nobody's", async () => {
  const concurrency = createConcurrency(10)
  const both = [
    await concurrency.enter({ ...request, reserved: 2 }, signal),
    await concurrency.enter({ ...request, reserved: 2 }, signal),
  ]
  for (const { answered } of both) answered()
  const fewer = concurrency.enter(request, signal)
  const none = concurrency.enter({ ...request, reserved: 0 }, signal)
  both[0]?.leave()
  expect(concurrency.count).toBe(1)
  both[1]?.leave()
  expect(concurrency.count).toBe(1)
  await expect(none).rejects.toMatchObject(throttled)
  ;(await fewer).leave()
  expect(concurrency.count).toBe(0)
})
