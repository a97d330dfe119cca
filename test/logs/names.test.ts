import { expect, test } from "vitest"
import { imageGroup, placeLog, streamName } from "../../src/logs/names.ts"

const usual = { account: "000000000000", region: "eu-central-1", group: imageGroup("app"), stream: "s" }

test("A stream is named after the day on which it began, in UTC, a version and who speaks", () => {
  expect(streamName(new Date("2026-01-31T23:59:59.999Z"), "2.0", "microvm-1")).toBe("2026/01/31[2.0]microvm-1")
  expect(imageGroup("app")).toBe("/aws/lambda-microvms/app")
})

test("A log is where it was asked for, else where AWS has it, and nowhere when it is disabled", () => {
  expect(placeLog(null, usual)).toEqual(usual)
  expect(placeLog({ kind: "group", group: null, stream: null }, usual)).toEqual(usual)
  expect(placeLog({ kind: "group", group: "/mine", stream: null }, usual)).toEqual({ ...usual, group: "/mine" })
  expect(placeLog({ kind: "group", group: null, stream: "one" }, usual)).toEqual({ ...usual, stream: "one" })
  expect(placeLog({ kind: "disabled" }, usual)).toBeUndefined()
})
