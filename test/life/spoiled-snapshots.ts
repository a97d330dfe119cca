/** Snapshots that somebody has spoiled, of a daemon's image `inspector`. */
import { GetMicrovmCommand, SuspendMicrovmCommand, TerminateMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import { copyFile, open, readdir, rename, stat, truncate } from "node:fs/promises"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { jsonOf } from "../fixtures/answers.ts"
import type { TestDaemon, TestVm } from "../fixtures/daemon.ts"

/** A MicroVM that counted to 1 and sleeps, with the directory of its files. */
const sleeper = async (daemon: TestDaemon): Promise<{ vm: TestVm; directory: string }> => {
  const before = new Set(await readdir(join(daemon.directory, "vms")).catch(() => []))
  const vm = await daemon.run({ image: "inspector" })
  expect(await jsonOf(daemon, vm, "/count")).toEqual({ count: 1 })
  const [fresh = ""] = (await readdir(join(daemon.directory, "vms"))).filter((name) => !before.has(name))
  await daemon.client.send(new SuspendMicrovmCommand({ microvmIdentifier: vm.id }))
  await daemon.untilState(vm.id, "SUSPENDED")
  return { vm, directory: join(daemon.directory, "vms", fresh) }
}
const refused = async (daemon: TestDaemon, { id, get }: TestVm) => {
  expect(await get("/count")).toMatchObject({ status: 502, body: "" })
  expect((await daemon.client.send(new GetMicrovmCommand({ microvmIdentifier: id }))).state).toBe("SUSPENDED")
}
const goesOn = async (daemon: TestDaemon, vm: TestVm) => {
  expect(await jsonOf(daemon, vm, "/count")).toEqual({ count: 2 })
  vm.close()
  await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
  await daemon.untilState(vm.id, "TERMINATED")
}
const flipByte = async (file: string) => {
  await using handle = await open(file, "r+")
  const at = Math.floor((await handle.stat()).size / 2)
  const byte = Buffer.alloc(1)
  await handle.read(byte, 0, 1, at)
  await handle.write(Buffer.from([(byte[0] ?? 0) ^ 0xff]), 0, 1, at)
}
const cutShort = async (file: string) => truncate(file, (await stat(file)).size - 4096)

export const describeSpoiledSnapshots = (daemonOf: () => TestDaemon) => {
  describe("A sleeping MicroVM", () => {
    test.for([
      ["delta-1", "altered", flipByte],
      ["delta-1", "truncated", cutShort],
      ["state-1", "altered", flipByte],
      ["state-1", "truncated", cutShort],
    ] as const)("isn't woken from a %s that was %s, and is once it is whole again", async ([name, , spoil]) => {
      const { vm, directory } = await sleeper(daemonOf())
      const file = join(directory, name)
      await copyFile(file, `${file}.kept`)
      await spoil(file)
      await refused(daemonOf(), vm)
      await rename(`${file}.kept`, file)
      await goesOn(daemonOf(), vm)
    })

    test("isn't woken from another's memory", async () => {
      const [one, other] = [await sleeper(daemonOf()), await sleeper(daemonOf())]
      const swap = async () => {
        for (const name of ["delta-1", "state-1"]) {
          const [mine, theirs] = [join(one.directory, name), join(other.directory, name)]
          await rename(mine, `${mine}.moved`)
          await rename(theirs, mine)
          await rename(`${mine}.moved`, theirs)
        }
      }
      await swap()
      await refused(daemonOf(), one.vm)
      await refused(daemonOf(), other.vm)
      await swap()
      await goesOn(daemonOf(), one.vm)
      await goesOn(daemonOf(), other.vm)
    })
  })
}
