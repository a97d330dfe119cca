import { pino } from "pino"
import { expect, onTestFinished, test } from "vitest"
import { createForesight, type ForesightOptions } from "../../machines/environments/foresight.ts"
import type { VersionSnapshot } from "../../machines/environments/snapshots/version-snapshots.ts"
import { createStarts } from "../../machines/environments/starts.ts"
import { defaultSettings } from "../../machines/functions/default-settings.ts"
import type { Definition } from "../../machines/functions/definition.ts"

const definitionOf = (name: string, settings: Partial<Definition["settings"]>): Definition => ({
  id: name,
  scope: { account: "000000000000", region: "us-east-1" },
  functionId: name,
  versionId: name,
  name,
  version: "$LATEST",
  settings: { ...defaultSettings, handler: "index.handler", runtime: "nodejs24.x", ...settings },
  environment: {},
  code: "",
  layers: [],
})

/** What is begun with for these functions, in its order. */
const open = (definitions: readonly Definition[], more: Partial<ForesightOptions> = {}) => {
  const begun: string[] = []
  const foresight = createForesight({
    bases: {
      async of(runtime, memoryMiB) {
        if (runtime === "java21") throw new Error("There is no memory left on this host for a runtime's base.")
        return { baseId: `${runtime} ${memoryMiB}`, memoryMiB, runtimeDrive: null }
      },
    },
    temporaryOf: async (roomMiB) => `${roomMiB}.raw`,
    pool: {
      maxVms: 2,
      async fill({ base, temporary }, need) {
        begun.push(`${base.baseId} ${temporary} for ${need}`)
      },
    },
    snapshots: {
      of: ({ id }) => (id.startsWith("slow") ? ({ id } as VersionSnapshot) : undefined),
      fill: ({ id }) => void begun.push(`snapshot of ${id}`),
    },
    starts: createStarts(),
    async *likely() {
      yield* definitions
    },
    log: pino({ level: "silent" }),
    pauseMs: 0,
    ...more,
  })
  onTestFinished(() => foresight[Symbol.asyncDispose]())
  return { foresight, begun }
}

test("What functions may need that are there is made ready in their order, as much as there may be of each kind", async () => {
  const { foresight, begun } = open([
    definitionOf("one", {}),
    definitionOf("same", {}),
    definitionOf("mapped", { runtime: "python3.12-of-mine" }),
    definitionOf("no base", { runtime: "java21" }),
    definitionOf("slow 1", {}),
    definitionOf("slow 2", {}),
    definitionOf("slow 3", {}),
    definitionOf("room", { temporaryMiB: 1024 }),
    definitionOf("unlikely", { runtime: "python3.13" }),
  ])
  foresight.begin()
  const expected = [
    "nodejs24.x 128 512.raw for start",
    "nodejs24.x 128 512.raw for start",
    "snapshot of slow 1",
    "snapshot of slow 2",
    "nodejs24.x 128 1024.raw for start",
  ]
  await expect.poll(() => begun).toEqual(expected)
  await foresight[Symbol.asyncDispose]()
  expect(begun).toEqual(expected)
})

test("What is deployed is made ready, unless it has no runtime of ours; it waits for environments that are being started", async () => {
  const starts = createStarts()
  const start = Promise.withResolvers<void>()
  starts.add(start.promise)
  const { foresight, begun } = open([], { starts })
  foresight.deployed({ runtime: "mine", memoryMiB: 128, temporaryMiB: 512 })
  foresight.deployed({ runtime: "python3.13", memoryMiB: 128, temporaryMiB: 512 })
  const waited = starts.untilNone(new AbortController().signal)
  expect(begun).toEqual([])
  start.resolve()
  await waited
  await expect.poll(() => begun).toEqual(["python3.13 128 512.raw for deployment"])
})

test("Nothing is made ready where nothing may stand", async () => {
  const unexpected = () => Promise.reject(new Error("It was begun"))
  const { foresight, begun } = open([definitionOf("one", {})], { pool: { maxVms: 0, fill: unexpected } })
  foresight.begin()
  foresight.deployed({ runtime: "python3.13", memoryMiB: 128, temporaryMiB: 512 })
  await foresight[Symbol.asyncDispose]()
  expect(begun).toEqual([])
})
