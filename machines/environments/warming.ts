/**
 * What each start of a function has done by an emulated guest for the first time, done before there is a function: a VM that was loaded from
 * a runtime's base is thawed, its drives are mounted, and it has events of training.
 */
import type { RuntimeName } from "../../images/runtimes/runtimes.ts"
import { createAgentClient, type AgentClient } from "../../src/agent/client.ts"
import type { ThawInput } from "../../src/agent/thaw.ts"
import { GUEST, type Slot } from "../../src/net/slot.ts"
import type { Vm } from "../../src/vmm/vmm.ts"
import { FUNCTION_DRIVES } from "../functions/disks/function-disks.ts"
import { FUNCTION_HOSTNAME } from "../functions/function-spec.ts"
import { openGuest, type Guest } from "../vms/guest.ts"
import { toThawInput } from "../vms/vm-life.ts"
import type { VmHost } from "../vm.ts"
import { trainAgain } from "./training.ts"

/** After so many events of training there is little that is not translated. */
const EVENTS = 3

const TEMPORARY = { drive: FUNCTION_DRIVES.temporary, isReadOnly: false }

interface Warmed {
  readonly vm: Vm
  readonly agent: AgentClient
  readonly identity: ThawInput
}

/**
 * Of a VM that is given a function later, in the same life: it is stopped as an environment is between two events, the agent goes on by the
 * connections that it has, and `/tmp` stays mounted.
 */
export const warmUp = ({ vm, agent, identity }: Warmed, runtime: RuntimeName, signal: AbortSignal): Promise<void> =>
  runAlone(
    { vm, identity },
    async (guest) => {
      // As its function's begins.
      await guest.setClock(signal)
      await agent.mountDrives([TEMPORARY], signal)
      await trainAgain(agent, { runtime, memoryMiB: vm.spec.memoryMiB }, EVENTS, signal)
      // Connections may stand then as long as they have to.
      await vm.untilQuiet(signal)
    },
    signal,
  )

/** Of a process that may be any VM's of its base: its guest knows no drive but the runtime's when this resolves, and nobody is connected to it. */
export const rehearseFunction = async (
  host: Pick<VmHost, "secretOf">,
  { vm, slot }: { readonly vm: Vm; readonly slot: Slot },
  runtime: RuntimeName,
  signal: AbortSignal,
): Promise<void> => {
  const identity = toThawInput(host, { vm, incarnation: 0 }, FUNCTION_HOSTNAME)
  const agent = createAgentClient(slot.address, GUEST.agentPort, identity.secret)
  const work = async (guest: Guest) => {
    await agent.mountDrives([TEMPORARY], signal)
    await trainAgain(agent, { runtime, memoryMiB: vm.spec.memoryMiB }, EVENTS, signal)
    await agent.unmountDrive(TEMPORARY.drive, signal)
    agent.close()
    await vm.untilQuiet(signal)
    await guest.freeze(signal)
  }
  try {
    await runAlone({ vm, identity }, work, signal)
  } finally {
    agent.close()
  }
}

/** Lets a stopped VM run for `work`, while others go first; it is stopped again when this resolves. */
const runAlone = async (
  { vm, identity }: Pick<Warmed, "vm" | "identity">,
  work: (guest: Guest) => Promise<void>,
  signal: AbortSignal,
): Promise<void> => {
  const guest = await openGuest(vm.ports, signal)
  try {
    await vm.giveWay(true)
    await vm.continue()
    await guest.thaw(identity, signal)
    await work(guest)
    await vm.pause()
    await vm.giveWay(false)
  } finally {
    guest.close()
  }
}
