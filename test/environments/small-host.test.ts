/** Functions that are too large for the whole host. Nothing of what a version stands on is made for it. */
import { randomUUID } from "node:crypto"
import { pino } from "pino"
import { expect, test } from "vitest"
import { createRuntimeBases } from "../../machines/environments/runtime-bases.ts"
import { createReadiness } from "../../machines/functions/code/readiness.ts"
import { createLedger } from "../../src/capacity/ledger.ts"
import { definitionOf } from "../life/functions/ground.ts"

const { signal } = new AbortController()
const none = { rootDisk: "", rootDiskHash: "", runtimeDisk: "", runtimeDiskHash: "" }
const unexpected = () => Promise.reject(new Error("It was begun"))

test("A version whose environments this host will never hold fails, and says so", async () => {
  await using bases = createRuntimeBases({
    host: {
      db: {} as never,
      hostId: randomUUID(),
      dataDirectory: "/nowhere",
      vmm: {} as never,
      ledger: createLedger(1000),
      log: pino({ level: "silent" }),
    },
    places: { cacheDirectory: "/nowhere", dataDirectory: "/nowhere" },
    systemDisk: "",
    disksOf: unexpected,
    make: unexpected,
    maxBytes: 0,
    signal,
  })
  const begun: string[] = []
  const grounds = {
    has: () => true,
    of(runtime: string) {
      begun.push(runtime)
      return Promise.resolve(none)
    },
  }
  const disks = {
    of() {
      begun.push("disks")
      return Promise.resolve({ code: "", layers: null, temporary: "" })
    },
    tidy: () => {},
  }
  const readiness = createReadiness(grounds, bases, disks, unexpected, { deployed: () => begun.push("VM") })
  const { settings } = definitionOf("f", {})
  const ownerOf = (memoryMiB: number) => ({
    code: "",
    layers: [],
    settings: { ...settings, runtime: "nodejs24.x", memoryMiB },
  })
  await expect(readiness.prepare(ownerOf(1024), signal)).rejects.toMatchObject({
    code: "InsufficientCapacity",
    message: "This host has too little memory for an execution environment of 1024 MB.",
  })
  expect(begun).toEqual([])
  await expect(bases.of("nodejs24.x", 1024, signal)).rejects.toThrow("too little memory")
  // A base that could not be made is another matter: it is tried again.
  await readiness.prepare(ownerOf(512), signal)
  expect(begun).toEqual(["nodejs24.x", "disks"])
})
