import {
  GetMicrovmCommand,
  ListMicrovmsCommand,
  ResumeMicrovmCommand,
  RunMicrovmCommand,
  SuspendMicrovmCommand,
  TerminateMicrovmCommand,
} from "@aws-sdk/client-lambda-microvms"
import { readdir, rename } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { createEndpoint } from "../../src/cli/endpoint.ts"
import { jsonOf } from "../fixtures/answers.ts"
import { inspectorApp } from "../fixtures/app.ts"
import { arnOf, PATIENT, startTestDaemon, type TestDaemon, type TestVm } from "../fixtures/daemon.ts"
import { firstBuildOf } from "../fixtures/image-builds.ts"
import type { TestNameServer } from "../net/name-server.ts"
import { describeIsolation, ON_EVERY_ADDRESS, openNames } from "./isolation.ts"
import { describeSpares } from "./spares.ts"
import { describeSpoiledSnapshots } from "./spoiled-snapshots.ts"

/** What two clocks may differ by. */
const CLOCK_MS = 5000

/** What `/identity` says. */
interface Identity {
  readonly hostname: string
  readonly machineId: string
  readonly bootId: string
  readonly early: string
  readonly now: number
}

const opened = new AsyncDisposableStack()
const OVERDUE = { stateReason: "MicroVM exceeded maximum lifetime." }

let nameServer: TestNameServer
let daemon: TestDaemon
/** Nobody uses them until their test comes: a minute is the least that a policy may say. */
let idle: readonly TestVm[]
/** Its time runs out while it sleeps, before its test comes or soon after. */
let brief: TestVm
beforeAll(async () => {
  nameServer = opened.use(await openNames())
  const settings = {
    nameServers: [`${nameServer.address}:${nameServer.port}`],
    // What is on disk is what its tests look at.
    lightSleep: { max: 0 },
    ...PATIENT,
  }
  daemon = opened.use(await startTestDaemon(ON_EVERY_ADDRESS, settings))
  await daemon.build("inspector", inspectorApp)
  const policy = { maxIdleDurationSeconds: 60, suspendedDurationSeconds: 3600 }
  idle = await Promise.all(
    [true, false].map((autoResumeEnabled) =>
      daemon.run({ image: "inspector", idlePolicy: { ...policy, autoResumeEnabled } }),
    ),
  )
  await Promise.all(idle.map(async (vm) => expect(await json(vm, "/count")).toEqual({ count: 1 })))
  brief = await daemon.run({ image: "inspector", maximumDurationInSeconds: 90 })
  await daemon.untilState(brief.id, "RUNNING")
  await daemon.client.send(new SuspendMicrovmCommand({ microvmIdentifier: brief.id }))
  await daemon.untilState(brief.id, "SUSPENDED")
})
afterAll(() => opened.disposeAsync())

const json = <Body>(vm: TestVm, path: string): Promise<Body> => jsonOf(daemon, vm, path)
const end = async (vm: TestVm) => {
  vm.close()
  await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
}

describe("A MicroVM of an image from a Dockerfile", () => {
  test("has a whole life: it answers, sleeps, wakes with its memory and its processes, and ends", async () => {
    const vm = await daemon.run({ image: "inspector" })
    expect(await json(vm, "/count")).toEqual({ count: 1 })
    expect(await json(vm, "/environment")).toMatchObject({
      COLOUR: "green",
      AWS_REGION: "us-east-1",
      AWS_LAMBDA_MICROVM_IMAGE_NAME: "inspector",
    })
    const before = await json<Identity>(vm, "/identity")
    for (let sleeps = 1; sleeps <= 2; sleeps++) {
      await daemon.client.send(new SuspendMicrovmCommand({ microvmIdentifier: vm.id }))
      await daemon.untilState(vm.id, "SUSPENDED")
      expect(await json(vm, "/count")).toEqual({ count: 1 + sleeps })
    }
    const asked = Date.now()
    const after = await json<Identity>(vm, "/identity")
    const answered = Date.now()
    expect(after).toMatchObject({ early: before.early, hostname: before.hostname })
    expect(after.now).toBeGreaterThan(asked - CLOCK_MS)
    expect(after.now).toBeLessThan(answered + CLOCK_MS)
    await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
    expect(await daemon.untilState(vm.id, "TERMINATED")).toEqual({ stateReason: "Success." })
    const gone = await vm.get("/count")
    expect({ status: gone.status, body: gone.body, error: gone.headers["x-aws-proxy-error"] }).toEqual({
      status: 502,
      body: "",
      error: "MICROVM_CONNECT_FAILED",
    })
    await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
    await expect(daemon.client.send(new SuspendMicrovmCommand({ microvmIdentifier: vm.id }))).rejects.toThrow(
      "has been terminated and its state cannot be changed",
    )
    vm.close()
  })

  test("of a base that has lost a disk is neither run nor woken, until the disk is back", async () => {
    const vm = await daemon.run({ image: "inspector" })
    expect(await json(vm, "/count")).toEqual({ count: 1 })
    await daemon.client.send(new SuspendMicrovmCommand({ microvmIdentifier: vm.id }))
    await daemon.untilState(vm.id, "SUSPENDED")
    // Of every image: one of them is this one's.
    const bases = await readdir(join(daemon.directory, "bases"))
    const disks = bases.map((base) => join(daemon.directory, "bases", base, "root.qcow2"))
    const gone = /gone from this host \(data:bases\/[\w-]+\/root\.qcow2\): build another version of the image/
    for (const disk of disks) await rename(disk, `${disk}-elsewhere`)
    try {
      await expect(daemon.run({ image: "inspector" })).rejects.toThrow(gone)
      expect(await vm.get("/count")).toMatchObject({ status: 502 })
      // Its log may come behind its answer.
      await expect.poll(() => daemon.lines.find((line) => line.includes("could not be woken"))).toMatch(gone)
    } finally {
      for (const disk of disks) await rename(`${disk}-elsewhere`, disk)
    }
    expect(await json(vm, "/count")).toEqual({ count: 2 })
    await end(vm)
  })

  test("is resumed by the API too, and suspending or resuming it twice changes nothing", async () => {
    const vm = await daemon.run({ image: "inspector" })
    await daemon.untilState(vm.id, "RUNNING")
    const id = { microvmIdentifier: vm.id }
    await daemon.client.send(new ResumeMicrovmCommand(id))
    await daemon.client.send(new SuspendMicrovmCommand(id))
    await daemon.untilState(vm.id, "SUSPENDED")
    await daemon.client.send(new SuspendMicrovmCommand(id))
    await daemon.client.send(new ResumeMicrovmCommand(id))
    await daemon.untilState(vm.id, "RUNNING")
    expect(await json(vm, "/count")).toEqual({ count: 1 })
    await end(vm)
  })

  test("is the same one for the same client token, and a conflict for another request", async () => {
    const input = { imageIdentifier: arnOf("inspector"), clientToken: "once" }
    const [first, second] = await Promise.all([
      daemon.client.send(new RunMicrovmCommand(input)),
      daemon.client.send(new RunMicrovmCommand(input)),
    ])
    expect(second.microvmId).toBe(first.microvmId)
    await expect(
      daemon.client.send(new RunMicrovmCommand({ ...input, maximumDurationInSeconds: 60 })),
    ).rejects.toMatchObject({ name: "ConflictException" })
    await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: first.microvmId }))
  })

  test("that ends in the midst of its launch gives back what it took, and nothing of anybody else's", async () => {
    const files = () => readdir(join(daemon.directory, "vms"))
    const before = new Set(await files())
    // Wherever each is by then.
    const ended = [0, 100, 200, 400].map(async (ms) => {
      const { microvmId = "" } = await daemon.client.send(
        new RunMicrovmCommand({ imageIdentifier: arnOf("inspector") }),
      )
      await sleep(ms)
      await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: microvmId }))
      await daemon.untilState(microvmId, "TERMINATED")
    })
    // It may have what they give back.
    const beside = await daemon.run({ image: "inspector" })
    await Promise.all(ended)
    expect(await json(beside, "/count")).toEqual({ count: 1 })
    await end(beside)
    await daemon.untilState(beside.id, "TERMINATED")
    expect((await files()).filter((name) => !before.has(name))).toEqual([])
  })

  test("differs from its siblings in randomness, hostname, machine and boot id, and agrees with them on the time", async () => {
    const vms = await Promise.all([1, 2, 3].map(() => daemon.run({ image: "inspector" })))
    const identities = await Promise.all(
      vms.map(async (vm) => {
        const asked = Date.now()
        const identity = await json<Identity>(vm, "/identity")
        const answered = Date.now()
        return { asked, ...identity, answered, ...(await json<{ random: string }>(vm, "/random")) }
      }),
    )
    for (const key of ["hostname", "machineId", "bootId", "random"] as const)
      expect(new Set(identities.map((one) => one[key])).size, key).toBe(3)
    // What was random before the base was taken is the same in all of them: they are clones.
    expect(new Set(identities.map(({ early }) => early)).size).toBe(1)
    for (const { asked, now, answered } of identities) {
      expect(now).toBeGreaterThan(asked - CLOCK_MS)
      expect(now).toBeLessThan(answered + CLOCK_MS)
    }
    await Promise.all(vms.map(end))
  })

  test("is reached at the ports of its token only, and by its own token only", async () => {
    const [vm, other] = await Promise.all([daemon.run({ image: "inspector" }), daemon.run({ image: "inspector" })])
    const both = await daemon.token(vm.id, [{ port: 8080 }, { port: 9090 }])
    const at = async (token: string, headers: Record<string, string> = {}) => {
      const client = createEndpoint(vm.name, token, daemon.ca)
      const answer = await client.get("/count", headers)
      client.close()
      return answer
    }
    expect(await at(both, { "x-aws-proxy-port": "9090" })).toMatchObject({ status: 200, body: "other port" })
    expect(await at(vm.token, { "x-aws-proxy-port": "9090" })).toMatchObject({
      status: 403,
      body: "Access to port denied",
    })
    expect(await at(other.token)).toMatchObject({ status: 403, body: "Token authentication failed" })
    expect(await at(`${vm.token.slice(0, -4)}AAAA`)).toMatchObject({
      status: 403,
      body: "Request missing authentication",
    })
    expect(await at(both, { "x-aws-proxy-port": "70000" })).toMatchObject({ status: 400 })
    const closed = await daemon.token(vm.id, [{ port: 7777 }])
    expect(await at(closed, { "x-aws-proxy-port": "7777" })).toMatchObject({ status: 502, body: "" })
    const headers = JSON.parse((await vm.get("/headers")).body) as Record<string, string>
    expect(Object.keys(headers).filter((name) => name.startsWith("x-aws-proxy-"))).toEqual([])
    await Promise.all([vm, other].map(end))
  })

  test("ends when its application exits, with the exit code as the reason", async () => {
    const vm = await daemon.run({ image: "inspector" })
    await vm.get("/exit").catch(() => {})
    expect(await daemon.untilState(vm.id, "TERMINATED")).toEqual({ stateReason: "The application exited with code 3." })
    vm.close()
  })

  test("ends at its duration", async () => {
    const vm = await daemon.run({ image: "inspector", maximumDurationInSeconds: 4 })
    expect(await daemon.untilState(vm.id, "TERMINATED")).toEqual(OVERDUE)
    vm.close()
  })

  test("is listed newest first, in pages", async () => {
    const ids: string[] = []
    let nextToken: string | undefined
    do {
      const page = await daemon.client.send(
        new ListMicrovmsCommand({ imageIdentifier: arnOf("inspector"), maxResults: 3, nextToken }),
      )
      expect(page.items?.length).toBeLessThanOrEqual(3)
      ids.push(...(page.items ?? []).map(({ microvmId }) => microvmId ?? ""))
      nextToken = page.nextToken ?? undefined
    } while (nextToken !== undefined)
    expect(new Set(ids).size).toBe(ids.length)
    const started = await Promise.all(
      ids.map(
        async (microvmIdentifier) =>
          (await daemon.client.send(new GetMicrovmCommand({ microvmIdentifier }))).startedAt?.getTime() ?? 0,
      ),
    )
    expect(started).toEqual(started.toSorted((a, b) => b - a))
  })
})

describeSpoiledSnapshots(() => daemon)

describe("A build", () => {
  test("tells how large its base is", async () => {
    const build = await firstBuildOf(daemon.client, arnOf("inspector"))
    expect(build.buildState).toBe("SUCCESSFUL")
    expect(build.snapshotBuild?.memorySnapshotSizeInBytes).toBeGreaterThan(50 * 1024 ** 2)
  })

  test.for([
    [
      "a step that fails",
      { Dockerfile: 'FROM torpor/debian:13\nRUN echo going && false\nCMD ["true"]\n' },
      /Dockerfile line 2: .*exit code 1/,
    ],
    [
      "an application that exits",
      { Dockerfile: 'FROM torpor/debian:13\nCMD ["sh", "-c", "echo broken; exit 4"]\n' },
      /exited with code 4 before it was ready: broken/,
    ],
    [
      "an instruction that isn't supported",
      { Dockerfile: 'FROM torpor/debian:13\nRUN --network=host x\nCMD ["true"]\n' },
      /line 2: RUN --network=host is not supported/,
    ],
    ["an archive without a Dockerfile", { README: "nothing" }, /no Dockerfile/],
  ] as const)("fails with its reason: %s", async ([name, files, reason]) => {
    await expect(daemon.build(name.replaceAll(/[^a-z]+/g, "-"), files)).rejects.toThrow(reason)
  })
})

test("A MicroVM sleeps when nobody uses it, wakes on a request, and not when its policy forbids that", async () => {
  const [vm, stays] = idle as [TestVm, TestVm]
  await Promise.all(idle.map(({ id }) => daemon.untilState(id, "SUSPENDED")))
  expect(await json(vm, "/count")).toEqual({ count: 2 })
  expect(await stays.get("/count")).toMatchObject({ status: 502, body: "" })
  await daemon.untilState(stays.id, "SUSPENDED")
  await Promise.all([vm, stays].map(end))
})

describeIsolation(() => ({ daemon, nameServer }))

test("A MicroVM that sleeps ends at its duration, too", async () => {
  expect(await daemon.untilState(brief.id, "TERMINATED")).toEqual(OVERDUE)
  brief.close()
})

// Last: the daemon is another one from there on.
describeSpares(() => daemon)
