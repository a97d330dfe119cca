/** Processes that stand ready for the VMs of an image, through the SDK and a real daemon, and what is left of them when it dies. */
import {
  ListMicrovmsCommand,
  paginateListMicrovms,
  ResumeMicrovmCommand,
  RunMicrovmCommand,
  SuspendMicrovmCommand,
  TerminateMicrovmCommand,
} from "@aws-sdk/client-lambda-microvms"
import { readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { beforeAll, describe, expect, test } from "vitest"
import { signedSend } from "../api/signed-fetch.ts"
import { jsonOf } from "../fixtures/answers.ts"
import { arnOf, processesOf, REGION, type TestDaemon, type TestVm } from "../fixtures/daemon.ts"
import { eventually } from "../fixtures/eventually.ts"

/** Of a daemon that has the image `inspector`: its MicroVMs end, and it keeps processes ready from here on. */
export const describeSpares = (ground: () => TestDaemon): void => {
  describe("Processes that stand ready", () => {
    let daemon: TestDaemon
    beforeAll(async () => {
      daemon = ground()
      const file = join(daemon.directory, "../settings.json")
      const settings = JSON.parse(await readFile(file, "utf8")) as object
      await writeFile(file, JSON.stringify({ ...settings, spares: { max: 2 } }))
      await daemon.restart("SIGTERM")
      for await (const { items = [] } of paginateListMicrovms({ client: daemon.client }, {}))
        for (const { microvmId } of items)
          await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: microvmId }))
      await eventually(async () => expect([pids(), await directories()]).toEqual([[], []]))
    })

    const pids = () => processesOf(daemon.hostId.slice(0, 8))
    const directories = () => readdir(join(daemon.directory, "vms"))
    const count = async (vm: TestVm) => (await jsonOf<{ count: number }>(daemon, vm, "/count")).count
    const suspend = async (vm: TestVm) => {
      await daemon.client.send(new SuspendMicrovmCommand({ microvmIdentifier: vm.id }))
      await daemon.untilState(vm.id, "SUSPENDED")
    }
    /** Lets the daemon die of what `act` leads it to, and starts the next one. */
    const dies = async (act: () => Promise<unknown>) => {
      await Promise.all([act().catch(() => {}), daemon.ended])
      await daemon.restart("SIGKILL")
    }
    /** Resolves with the process of a kind that stands ready, as the log says behind so many of its lines. */
    const ready = (since: number, kind: "rehearsed" | "started"): Promise<number> =>
      eventually(
        () => {
          const line = daemon.lines
            .slice(since)
            .find((one) => one.includes('"msg":"A process stands ready"') && one.includes(`"kind":"${kind}"`))
          return (JSON.parse(line ?? "none") as { pid: number }).pid
        },
        // It makes way for all others.
        { timeout: 240_000 },
      )
    const logOf = async ({ id }: TestVm) => {
      const path = `/torpor/v1/microvms/${id}/logs`
      const credentials = await daemon.client.config.credentials()
      const { status, text } = await signedSend(daemon.apiPort, { path, region: REGION, ...credentials })
      expect(status, text).toBe(200)
      return text
    }
    const identity = async (vm: TestVm) => {
      const { body } = await vm.get("/identity")
      return JSON.parse(body) as { hostname: string; machineId: string; bootId: string }
    }

    test("are what a MicroVM begins and wakes in, and a daemon that is killed leaves none behind", async () => {
      const first = await daemon.run({ image: "inspector" })
      expect(await count(first)).toBe(1)
      const [launching, waking] = [await ready(0, "rehearsed"), await ready(0, "started")]
      const own = pids().filter((pid) => pid !== launching && pid !== waking)
      let since = daemon.lines.length

      const second = await daemon.run({ image: "inspector" })
      expect(await count(second)).toBe(1)
      expect(pids()).toContain(launching)
      const [mine, other] = [await identity(first), await identity(second)]
      expect(other.hostname).toMatch(/^microvm-[0-9a-f]{8}$/)
      for (const key of ["hostname", "machineId", "bootId"] as const) expect(other[key]).not.toBe(mine[key])
      await ready(since, "rehearsed")
      since = daemon.lines.length
      await suspend(first)
      expect(await count(first)).toBe(2)
      expect(pids()).toEqual(expect.arrayContaining([launching, waking]))
      for (const pid of own) expect(pids()).not.toContain(pid)

      // Killed with what stands ready, it takes over its VMs and no more.
      await ready(since, "started")
      await daemon.restart("SIGKILL")
      await expect.poll(() => new Set(pids())).toEqual(new Set([launching, waking]))
      expect(await count(first)).toBe(3)
      expect(await count(second)).toBe(2)
      for (const vm of [first, second])
        await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
      for (const vm of [first, second]) await daemon.untilState(vm.id, "TERMINATED")
      expect(await directories()).toEqual([])
      // Its application says nothing, and a rehearsal is none of its words.
      for (const vm of [first, second]) expect(await logOf(vm)).toBe("")
    })

    test("let a daemon that is killed when one has been loaded bring its MicroVM where it was going", async () => {
      const vm = await daemon.run({ image: "inspector" })
      expect(await count(vm)).toBe(1)
      await suspend(vm)

      await daemon.restart("SIGTERM", { TORPOR_FAIL_AT: "launch: loaded" })
      let since = daemon.lines.length
      expect(await count(vm)).toBe(2)
      await ready(since, "rehearsed")
      await dies(() => daemon.client.send(new RunMicrovmCommand({ imageIdentifier: arnOf("inspector") })))
      const { items } = await daemon.client.send(new ListMicrovmsCommand({ maxResults: 1 }))
      const launched = await daemon.adopt(items?.[0]?.microvmId ?? "")
      expect(await count(launched)).toBe(1)

      await daemon.restart("SIGTERM", { TORPOR_FAIL_AT: "wake: consumed" })
      since = daemon.lines.length
      const other = await daemon.run({ image: "inspector" })
      expect(await count(other)).toBe(1)
      await suspend(launched)
      await ready(since, "started")
      await dies(() => daemon.client.send(new ResumeMicrovmCommand({ microvmIdentifier: launched.id })))
      await daemon.untilState(launched.id, "RUNNING")
      expect(await count(launched)).toBe(2)
      expect(await count(vm)).toBe(3)
    })

    test("leave nothing of a rehearsal in which the daemon is killed", async () => {
      await daemon.restart("SIGTERM", { TORPOR_FAIL_AT: "rehearsal: thawed" })
      const before = new Set(pids())
      let id = ""
      await dies(async () => {
        const vm = await daemon.run({ image: "inspector" })
        ;({ id } = vm)
        await count(vm)
      })
      await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: id }))
      await daemon.untilState(id, "TERMINATED")
      await eventually(() => expect(new Set(pids())).toEqual(before))
    })
  })
}
