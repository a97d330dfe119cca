import {
  GetMicrovmCommand,
  ListMicrovmsCommand,
  ResumeMicrovmCommand,
  RunMicrovmCommand,
  SuspendMicrovmCommand,
  TerminateMicrovmCommand,
} from "@aws-sdk/client-lambda-microvms"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import type { Failpoint } from "../../src/failpoint.ts"
import { jsonOf } from "../fixtures/answers.ts"
import { inspectorApp } from "../fixtures/app.ts"
import { arnOf, processesOf, PATIENT, startTestDaemon, type TestDaemon, type TestVm } from "../fixtures/daemon.ts"

const opened = new AsyncDisposableStack()
let daemon: TestDaemon
beforeAll(async () => {
  daemon = opened.use(await startTestDaemon({}, PATIENT))
  await daemon.build("inspector", inspectorApp)
})
afterAll(() => opened.disposeAsync())

const vms: TestVm[] = []
/** After each crash and its restart this host has what its rows say, and nothing else. */
afterEach(async () => {
  for (const vm of vms.splice(0)) {
    vm.close()
    await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
    await daemon.untilState(vm.id, "TERMINATED")
  }
  const mark = daemon.hostId.slice(0, 8)
  const left = async () => [
    ...processesOf(mark),
    ...(await readdir(join(daemon.directory, "vms")).catch(() => [])),
    ...(await readdir(join("/run/torpor/vms", mark)).catch(() => [])),
  ]
  await expect.poll(left).toEqual([])
})

const started = async (): Promise<TestVm> => {
  const vm = await daemon.run({ image: "inspector" })
  vms.push(vm)
  return vm
}
const count = async (vm: TestVm) => (await jsonOf<{ count: number }>(daemon, vm, "/count")).count
const suspend = async (vm: TestVm) => {
  await daemon.client.send(new SuspendMicrovmCommand({ microvmIdentifier: vm.id }))
  await daemon.untilState(vm.id, "SUSPENDED")
}
/** Lets the daemon die at a point that `act` leads it to, and starts the next one, which may be to die in turn. */
const dieAt = async (point: Failpoint, act: () => Promise<unknown>) => {
  await daemon.restart("SIGTERM", { TORPOR_FAIL_AT: point })
  // Its answer may be lost with it.
  await Promise.all([act().catch(() => {}), daemon.ended])
}
/** The next one dies at a point that it comes to by itself. */
const dieAgainAt = async (point: Failpoint) => {
  // It may be gone before it serves.
  await daemon.restart("SIGKILL", { TORPOR_FAIL_AT: point }).catch(() => {})
  await daemon.ended
}
const newest = async (): Promise<TestVm> => {
  const { items } = await daemon.client.send(new ListMicrovmsCommand({ maxResults: 1 }))
  const vm = await daemon.adopt(items?.[0]?.microvmId ?? "")
  vms.push(vm)
  return vm
}

describe("A daemon that is killed, and the next one too, while it goes on with that", () => {
  test("launches that MicroVM when it is back", async () => {
    await dieAt("launch: row stored", () =>
      daemon.client.send(new RunMicrovmCommand({ imageIdentifier: arnOf("inspector") })),
    )
    await dieAgainAt("launch: loaded")
    await daemon.restart("SIGKILL")
    const vm = await newest()
    expect(await count(vm)).toBe(1)
    expect(processesOf(daemon.hostId.slice(0, 8))).toHaveLength(1)
  })

  test("brings that MicroVM to sleep when it is back, and wakes it, with its memory", async () => {
    const vm = await started()
    expect(await count(vm)).toBe(1)
    const id = { microvmIdentifier: vm.id }
    await dieAt("sleep: delta begun", () => daemon.client.send(new SuspendMicrovmCommand(id)))
    await dieAgainAt("sleep: delta stored")
    await daemon.restart("SIGKILL", { TORPOR_FAIL_AT: "wake: loaded" })
    await daemon.untilState(vm.id, "SUSPENDED")
    expect(processesOf(daemon.hostId.slice(0, 8))).toEqual([])
    await Promise.all([daemon.client.send(new ResumeMicrovmCommand(id)).catch(() => {}), daemon.ended])
    await dieAgainAt("wake: consumed")
    await daemon.restart("SIGKILL")
    await daemon.untilState(vm.id, "RUNNING")
    expect(await count(vm)).toBe(2)
    await suspend(vm)
    expect(await count(vm)).toBe(3)
  })
})

describe("A daemon that is killed", () => {
  test("in a build step fails that build with the reason, and builds it the next time", async () => {
    const files = { ...inspectorApp, Dockerfile: `${inspectorApp.Dockerfile}RUN echo another\n` }
    await dieAt("build: step begun", () => daemon.build("again", files))
    await daemon.down()
    expect(processesOf(daemon.hostId.slice(0, 8))).toEqual([])
    await daemon.restart("SIGKILL")
    await expect(daemon.untilBuilt("again")).rejects.toThrow("The build was interrupted")
    await daemon.build("again-2", files)
  })

  test("leaves running MicroVMs running and takes them over, with their edge and their end", async () => {
    const vm = await started()
    expect(await count(vm)).toBe(1)
    const before = processesOf(daemon.hostId.slice(0, 8))
    for (const [index, signal] of (["SIGKILL", "SIGTERM"] as const).entries()) {
      await daemon.restart(signal)
      expect(processesOf(daemon.hostId.slice(0, 8))).toEqual(before)
      expect(await count(vm)).toBe(2 + index)
    }
    await suspend(vm)
    await daemon.restart("SIGKILL")
    expect((await daemon.client.send(new GetMicrovmCommand({ microvmIdentifier: vm.id }))).state).toBe("SUSPENDED")
    // What slept in memory sleeps on disk alone, once it has been taken over.
    await expect.poll(() => processesOf(daemon.hostId.slice(0, 8))).toEqual([])
    expect(await count(vm)).toBe(4)
    await vm.get("/exit").catch(() => {})
    expect(await daemon.untilState(vm.id, "TERMINATED")).toEqual({ stateReason: "The application exited with code 3." })
  })

  test("and whose MicroVM's process ends meanwhile says so, and doesn't resume it from older memory", async () => {
    const vm = await started()
    await count(vm)
    await suspend(vm)
    await count(vm)
    await daemon.stop("SIGKILL")
    for (const pid of processesOf(daemon.hostId.slice(0, 8))) process.kill(pid, "SIGKILL")
    await daemon.restart("SIGKILL")
    const { stateReason } = await daemon.untilState(vm.id, "TERMINATED")
    expect(stateReason).toBe("The virtual machine's process ended while the daemon was down.")
  })

  test("ends a MicroVM whose time ran out while it was down", async () => {
    /** One that is running when the daemon is killed; its time is twice as long where it was too short for that. */
    const killedBeside = async (seconds: number): Promise<{ vm: TestVm; overAt: number }> => {
      const vm = await daemon.run({ image: "inspector", maximumDurationInSeconds: seconds })
      vms.push(vm)
      const { startedAt } = await daemon.client.send(new GetMicrovmCommand({ microvmIdentifier: vm.id }))
      const overAt = (startedAt?.getTime() ?? 0) + seconds * 1000
      const isRunning = await daemon.untilState(vm.id, "RUNNING").then(
        () => true,
        () => false,
      )
      // Less than that is no time for a kill.
      if (!isRunning || overAt - Date.now() < 2000) return killedBeside(2 * seconds)
      await daemon.stop("SIGKILL")
      return { vm, overAt }
    }
    const { vm, overAt } = await killedBeside(8)
    await sleep(overAt - Date.now())
    await daemon.restart("SIGKILL")
    expect(await daemon.untilState(vm.id, "TERMINATED")).toEqual({ stateReason: "MicroVM exceeded maximum lifetime." })
  })
})

describe("A MicroVM that sleeps in memory", () => {
  test("wakes in its process, a daemon's death beside that or not, and from disk where that was killed", async () => {
    const pids = () => processesOf(daemon.hostId.slice(0, 8))
    const vm = await started()
    expect(await count(vm)).toBe(1)
    const before = pids()
    await suspend(vm)
    expect(pids()).toEqual(before)
    expect(await count(vm)).toBe(2)
    await dieAt("wake: consumed", async () => {
      await suspend(vm)
      await daemon.client.send(new ResumeMicrovmCommand({ microvmIdentifier: vm.id }))
    })
    await daemon.restart("SIGKILL")
    await daemon.untilState(vm.id, "RUNNING")
    expect(await count(vm)).toBe(3)
    expect(pids()).toEqual(before)
    await suspend(vm)
    for (const pid of before) process.kill(pid, "SIGKILL")
    expect(await count(vm)).toBe(4)
    expect(pids()).toHaveLength(1)
    // It ends asleep.
    await suspend(vm)
  })
})

describe("torpor down", () => {
  test("puts what runs to sleep, also after a daemon that was killed; the next start wakes it at its next request", async () => {
    const vm = await started()
    expect(await count(vm)).toBe(1)
    for (const [isKilled, counted] of [
      [false, 2],
      [true, 3],
    ] as const) {
      if (isKilled) await daemon.stop("SIGKILL")
      await daemon.down()
      expect(processesOf(daemon.hostId.slice(0, 8))).toEqual([])
      await daemon.restart("SIGKILL")
      expect((await daemon.client.send(new GetMicrovmCommand({ microvmIdentifier: vm.id }))).state).toBe("SUSPENDED")
      expect(await count(vm)).toBe(counted)
    }
  })
})
