import { expect, test } from "vitest"
import { createOpenRequests } from "../../../proxy/limits/open-requests.ts"
import { createCounts } from "../../../proxy/limits/counts.ts"

const limits = { maxRequestsPerVm: 2, maxRequestsPerToken: 1, maxRequests: 3 }

test("A key is counted up to its limit, and forgotten at zero", () => {
  const counts = createCounts(2)
  expect([counts.add("a"), counts.add("a"), counts.add("a"), counts.add("b")]).toEqual([true, true, false, true])
  counts.remove("a")
  expect([counts.add("a"), counts.add("a"), counts.size]).toEqual([true, false, 2])
  for (const key of ["a", "a", "b"]) counts.remove(key)
  expect(counts.size).toBe(0)
})

test("A VM's flood and a token's are refused as their own, everybody's as the edge's", () => {
  const requests = createOpenRequests(limits)
  requests.enter("vm", "first")
  expect(() => requests.enter("vm", "first")).toThrow(expect.objectContaining({ code: "TOO_MANY_REQUESTS_OF_TOKEN" }))
  requests.enter("vm", "second")
  expect(() => requests.enter("vm", "third")).toThrow(expect.objectContaining({ code: "TOO_MANY_REQUESTS" }))
  requests.enter("other", "third")
  expect(() => requests.enter("another", "fourth")).toThrow(expect.objectContaining({ code: "OVERLOADED" }))
  expect(requests.open).toBe(3)
})

test("What is refused counts nowhere, and what ends makes room once", () => {
  const requests = createOpenRequests(limits)
  const ends = [requests.enter("vm", "first"), requests.enter("vm", "second"), requests.enter("other", "third")]
  for (const [vmId, token] of [
    ["vm", "fourth"],
    ["other", "third"],
    ["another", "fifth"],
  ] as const)
    expect(() => requests.enter(vmId, token)).toThrow()
  for (const end of ends) {
    end()
    end()
  }
  expect(requests.open).toBe(0)
  // Each of the refused would have its place now.
  for (const [vmId, token] of [
    ["other", "third"],
    ["vm", "fourth"],
    ["another", "fifth"],
  ] as const)
    requests.enter(vmId, token)
  expect(requests.open).toBe(3)
})
