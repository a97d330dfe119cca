import { expect, test } from "vitest"
import { createPlatformLog } from "../../machines/environments/platform-log.ts"
import { definitionOf } from "../life/functions/ground.ts"

const requestId = "6f747ab9-8b2c-4d52-9f3a-1c1f4d4b8c2e"
const start = { type: "start", requestId, functionArn: "arn" } as const

const open = () => {
  const words: string[] = []
  const log = createPlatformLog(
    { initialization: "on-demand", definition: definitionOf("hello") },
    { add: (stream, text) => void words.push(`${stream}: ${text}`) },
  )
  return { log, words }
}

test("What a caller is told of an event's log is its last 4 KB, in whole characters", () => {
  const { log } = open()
  log.hear("stdout", "of the event before\n")
  log.begin()
  log.say(start)
  expect(log.tail().toString()).toBe(`START RequestId: ${requestId} Version: $LATEST\n`)
  // Of three bytes each: 4,096 are not so many of them.
  log.hear("stdout", `${"漢".repeat(2000)}\n`)
  const tail = log.tail().toString()
  expect(tail).toBe(`${"漢".repeat(1365)}\n`)
  expect(Buffer.byteLength(tail)).toBe(4096)
  log.hear("stdout", `${"é".repeat(3000)}\n`)
  expect(log.tail().toString()).toBe(`${"é".repeat(2047)}\n`)
})

test("A line of the platform's is one of its own, whatever the function has left without an end", () => {
  const { log, words } = open()
  log.hear("stderr", "half a line")
  log.say(start)
  const line = `START RequestId: ${requestId} Version: $LATEST\n`
  expect(words).toEqual(["stderr: \n", `platform: ${line}`])
  expect(log.tail().toString()).toBe(`half a line\n${line}`)
})
