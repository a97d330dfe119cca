import { expect, test } from "vitest"
import {
  toPlatformLines,
  toPlatformRecord,
  type PlatformEvent,
  type PlatformSubject,
} from "../../machines/environments/platform-lines.ts"
import { defaultSettings } from "../../machines/functions/default-settings.ts"
import type { FunctionLogging } from "../../src/db/function-values.ts"

const requestId = "6f747ab9-8b2c-4d52-9f3a-1c1f4d4b8c2e"
const functionArn = "arn:aws:lambda:eu-central-1:000000000000:function:hello"
const at = new Date("2026-01-31T12:00:00.000Z")
const hash = /[0-9a-f]{64}/

const subjectOf = (
  logging: Partial<FunctionLogging> = {},
  initialization: PlatformSubject["initialization"] = "on-demand",
): PlatformSubject => ({
  initialization,
  definition: {
    scope: { account: "000000000000", region: "eu-central-1" },
    name: "hello",
    version: "$LATEST",
    settings: {
      ...defaultSettings,
      runtime: "python3.13",
      handler: "index.handler",
      logging: { ...defaultSettings.logging, ...logging },
    },
  },
})

const report = {
  type: "report",
  requestId,
  durationMs: 3.0149,
  billedMs: 114,
  maxMemoryBytes: 36 * 1024 ** 2,
  status: "success",
} as const

test.each<[string, PlatformEvent, string[]]>([
  [
    "the Init begins",
    { type: "initStart", phase: "init" },
    ["INIT_START Runtime Version: python:3.13.v1\tRuntime Version ARN: arn:aws:lambda:eu-central-1::runtime:<hex>"],
  ],
  ["the Init is done again", { type: "initStart", phase: "invoke" }, []],
  ["an event begins", { type: "start", requestId, functionArn }, [`START RequestId: ${requestId} Version: $LATEST`]],
  [
    "it is answered",
    { type: "runtimeDone", requestId, status: "success", durationMs: 3 },
    [`END RequestId: ${requestId}`],
  ],
  [
    "it takes too long",
    { type: "runtimeDone", requestId, status: "timeout", durationMs: 3000 },
    [`2026-01-31T12:00:00.000Z ${requestId} Task timed out after 3.00 seconds`, `END RequestId: ${requestId}`],
  ],
  [
    "a warm event is over",
    report,
    [
      `REPORT RequestId: ${requestId}\tDuration: 3.01 ms\tBilled Duration: 114 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\t`,
    ],
  ],
  [
    "a cold event is over",
    { ...report, initMs: 110.1 },
    [
      `REPORT RequestId: ${requestId}\tDuration: 3.01 ms\tBilled Duration: 114 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\tInit Duration: 110.10 ms\t`,
    ],
  ],
  [
    "a restored event is over",
    { ...report, restoreMs: 511.25, billedRestoreMs: 80 },
    [
      `REPORT RequestId: ${requestId}\tDuration: 3.01 ms\tBilled Duration: 114 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\tRestore Duration: 511.25 ms\tBilled Restore Duration: 80 ms\t`,
    ],
  ],
  [
    "an event whose time ended is over",
    { ...report, status: "timeout" },
    [
      `REPORT RequestId: ${requestId}\tDuration: 3.01 ms\tBilled Duration: 114 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\tStatus: timeout`,
    ],
  ],
  [
    "an event whose runtime ended is over",
    { ...report, status: "failure", errorType: "Runtime.ExitError" },
    [
      `REPORT RequestId: ${requestId}\tDuration: 3.01 ms\tBilled Duration: 114 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\tStatus: error\tError Type: Runtime.ExitError`,
    ],
  ],
  [
    "the Init takes too long",
    { type: "initReport", phase: "init", status: "timeout", durationMs: 9999.79 },
    ["INIT_REPORT Init Duration: 9999.79 ms\tPhase: init\tStatus: timeout"],
  ],
  [
    "the Init fails within an event",
    { type: "initReport", phase: "invoke", status: "failure", errorType: "Runtime.ExitError", durationMs: 12 },
    ["INIT_REPORT Init Duration: 12.00 ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ExitError"],
  ],
  ["the Init goes well", { type: "initReport", phase: "init", status: "success", durationMs: 12 }, []],
  [
    "a snapshot is restored",
    { type: "restoreReport", status: "success", durationMs: 511.25 },
    ["RESTORE_REPORT Restore Duration: 511.25 ms"],
  ],
  [
    "its restore begins",
    { type: "restoreStart" },
    ["RESTORE_START Runtime Version: python:3.13.v1\tRuntime Version ARN: arn:aws:lambda:eu-central-1::runtime:<hex>"],
  ],
])("As text, when %s", (_, event, lines) => {
  expect(toPlatformLines(subjectOf(), event, at).map((line) => line.replace(hash, "<hex>"))).toEqual(lines)
})

test("In JSON each is an object with its time, its type and its record", () => {
  const [line = ""] = toPlatformLines(subjectOf({ format: "JSON" }), { ...report, initMs: 110.1 }, at)
  expect(line).toBe(
    `{"time":"2026-01-31T12:00:00.000Z","type":"platform.report","record":{"requestId":"${requestId}","metrics":{"durationMs":3.015,"billedDurationMs":114,"memorySizeMB":128,"maxMemoryUsedMB":36,"initDurationMs":110.1},"status":"success"}}`,
  )
  expect(toPlatformLines(subjectOf({ format: "JSON" }), { type: "start", requestId, functionArn }, at)).toEqual([
    `{"time":"2026-01-31T12:00:00.000Z","type":"platform.start","record":{"requestId":"${requestId}","functionArn":"${functionArn}","version":"$LATEST"}}`,
  ])
})

test("The system log level decides which lines of JSON there are, and no record", () => {
  const events: PlatformEvent[] = [
    { type: "initStart", phase: "init" },
    { type: "initRuntimeDone", phase: "init", status: "success" },
    { type: "initReport", phase: "init", status: "success", durationMs: 1 },
    { type: "start", requestId, functionArn },
    { type: "runtimeDone", requestId, status: "success", durationMs: 1, producedBytes: 2 },
    report,
    { ...report, status: "error", errorType: "Function.Unknown" },
  ]
  const typesAt = (systemLevel: string | null) =>
    events.flatMap((event) =>
      toPlatformLines(subjectOf({ format: "JSON", systemLevel }), event, at).map(
        (line) => (JSON.parse(line) as { type: string }).type,
      ),
    )
  expect(typesAt("DEBUG")).toEqual(events.map(({ type }) => `platform.${type}`))
  expect(typesAt(null)).toEqual(["platform.initStart", "platform.start", "platform.report", "platform.report"])
  expect(typesAt("WARN")).toEqual(["platform.report"])
  expect(events.map((event) => toPlatformRecord(subjectOf(), event).type)).toEqual(
    events.map(({ type }) => `platform.${type}`),
  )
})

test("An Init that was asked for in advance is told of", () => {
  const subject = subjectOf({ format: "JSON" }, "provisioned-concurrency")
  const event = { type: "initReport", phase: "init", status: "success", durationMs: 5 } as const
  expect(toPlatformRecord(subject, event)).toEqual({
    type: "platform.initReport",
    record: {
      initializationType: "provisioned-concurrency",
      phase: "init",
      status: "success",
      metrics: { durationMs: 5 },
    },
  })
  expect(toPlatformLines(subject, event, at)).toHaveLength(1)
})

test.each([
  ["nodejs24.x", "nodejs:24.v1"],
  ["java21", "java:21.v1"],
  ["ruby3.3", "ruby:3.3.v1"],
  ["provided.al2023", "provided:al2023.v1"],
])("The version of %s is called %s", (runtime, name) => {
  const subject = subjectOf()
  const { definition } = subject
  const settings = { ...definition.settings, runtime }
  const [line] = toPlatformLines(
    { ...subject, definition: { ...definition, settings } },
    { type: "initStart", phase: "init" },
    at,
  )
  expect(line).toContain(`Runtime Version: ${name}\t`)
})
