/** A daemon that launched a VM and died: run as a program it launches one, says which process that is, and waits to be killed. */
import type { LaunchSpec, VmProcess } from "../../src/vmm/vmm.ts"
import { saidBeforeKilled } from "../fixtures/killed-program.ts"
import { runGuest } from "./guests.ts"
import type { CreateVmm, VmmPlace } from "./vmm-host.ts"

interface Orders {
  /** The module that exports `createVmm`. */
  readonly module: string
  readonly place: VmmPlace
  readonly spec: LaunchSpec
}

/** Resolves with a VM that runs on, thawed, and whose daemon was ended by SIGKILL. */
export const launchedByEarlierDaemon = (orders: Orders): Promise<VmProcess> =>
  saidBeforeKilled(import.meta.filename, orders)

if (import.meta.main) {
  const { module, place, spec } = JSON.parse(process.argv[2] ?? "") as Orders
  const { createVmm } = (await import(module)) as { createVmm: CreateVmm }
  const signal = new AbortController().signal
  const vm = await (await createVmm(place, signal)).launch(spec, signal)
  await runGuest(vm)
  console.log(JSON.stringify(vm.process))
}
