/** How much disk a sleeping VM takes: its delta and device state. */
import { readdir, stat } from "node:fs/promises"
import { join } from "node:path"
import { SuspendMicrovmCommand, TerminateMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import type { TestDaemon } from "../test/fixtures/daemon.ts"
import type { Bench } from "./bench.ts"

const ROUNDS = 10

export const deltas: Bench = {
  summary: "what a sleeping VM takes on disk, after one request and after 32 MiB of random bytes",
  claims: [
    { of: "delta after one request", most: 12 },
    { of: "delta after 32 MiB of random bytes", most: 48 },
  ],
  async run({ daemon, progress }) {
    const found = { light: [] as number[], heavy: [] as number[] }
    for (let round = 1; round <= ROUNDS; round++) {
      found.light.push(await sizeOfSleeping(daemon, "/"))
      found.heavy.push(await sizeOfSleeping(daemon, "/fill?mebibytes=32"))
      progress(`deltas: round ${round} of ${ROUNDS}`)
    }
    return {
      "delta after one request": { unit: "MiB", values: found.light },
      "delta after 32 MiB of random bytes": { unit: "MiB", values: found.heavy },
    }
  },
}

const sizeOfSleeping = async (daemon: TestDaemon, path: string): Promise<number> => {
  const vm = await daemon.run({ image: "bench" })
  try {
    const { status, body } = await vm.get(path)
    if (status !== 200) throw new Error(`The MicroVM answered ${status}: ${body}`)
    await daemon.client.send(new SuspendMicrovmCommand({ microvmIdentifier: vm.id }))
    await daemon.untilState(vm.id, "SUSPENDED")
    // It is the only one: its directory is the one with a delta.
    const vms = join(daemon.directory, "vms")
    const sizes = await Promise.all(
      (await readdir(vms, { recursive: true }))
        .filter((name) => /\/(delta|state)-\d+$/.test(name))
        .map(async (name) => (await stat(join(vms, name))).blocks * 512),
    )
    if (sizes.length !== 2) throw new Error(`A sleeping VM should have a delta and a state, not ${sizes.length} files`)
    return sizes.reduce((sum, size) => sum + size, 0) / 1024 ** 2
  } finally {
    vm.close()
    await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
    await daemon.untilState(vm.id, "TERMINATED")
  }
}
