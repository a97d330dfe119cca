/** A daemon that launched a VM and died: run as a program it launches one, says which process that is, and waits to be killed. */
import { once } from "node:events"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import type { LaunchSpec, VmProcess } from "../../src/vmm/vmm.ts"
import { runGuest } from "./guests.ts"
import type { CreateVmm, VmmPlace } from "./vmm-host.ts"

interface Orders {
  /** The module that exports `createVmm`. */
  readonly module: string
  readonly place: VmmPlace
  readonly spec: LaunchSpec
}

/** Resolves with a VM that runs on, thawed, and whose daemon was ended by SIGKILL. */
export const launchedByEarlierDaemon = async (orders: Orders): Promise<VmProcess> => {
  const child = spawn(process.execPath, [import.meta.filename, JSON.stringify(orders)], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  const exit = once(child, "exit")
  const [line] = (await Promise.race([
    once(createInterface({ input: child.stdout }), "line"),
    exit.then(() => Promise.reject(new Error("The earlier daemon ended before it had launched anything"))),
  ])) as [string]
  child.kill("SIGKILL")
  await exit
  return JSON.parse(line) as VmProcess
}

if (import.meta.main) {
  const { module, place, spec } = JSON.parse(process.argv[2] ?? "") as Orders
  const { createVmm } = (await import(module)) as { createVmm: CreateVmm }
  const signal = new AbortController().signal
  const vm = await (await createVmm(place, signal)).launch(spec, signal)
  await runGuest(vm)
  console.log(JSON.stringify(vm.process))
}
