import { createAgentClient } from "../../src/agent/client.ts"
import { failpoint } from "../../src/failpoint.ts"
import { GUEST, type Slot } from "../../src/net/slot.ts"
import type { Vm } from "../../src/vmm/vmm.ts"
import { openGuest } from "./guest.ts"
import { toThawInput } from "./vm-life.ts"
import type { VmHost } from "../vm.ts"

/** As long as a MicroVM's: what takes its place is of the same length. */
const hostnameOf = (id: string) => `rehearse-${id.slice(0, 7)}`

/**
 * Has a guest that is loaded and paused do what each does before its application goes on, which stays frozen: be thawed, be spoken to
 * over the network, and what of the application's first answer its agent can do. An emulator has then translated it, and its pages are
 * there. The guest is paused again when this resolves, at rest and alone; what it was told of itself, the next thaw replaces.
 */
export const rehearse = async (
  host: Pick<VmHost, "secretOf">,
  vm: Vm,
  slot: Slot,
  signal: AbortSignal,
  hostname = hostnameOf(vm.spec.vmId),
): Promise<void> => {
  const identity = toThawInput(host, { vm, incarnation: 0 }, hostname)
  const guest = await openGuest(vm.ports, signal)
  const agent = createAgentClient(slot.address, GUEST.agentPort, identity.secret)
  try {
    await vm.giveWay(true)
    await Promise.all([vm.continue(), guest.rehearse(identity, signal)])
    failpoint("rehearsal: thawed")
    await agent.rehearse(signal)
    await guest.hearAll(agent, signal)
    agent.close()
    await vm.untilQuiet(signal)
    await vm.pause()
    await vm.giveWay(false)
  } finally {
    agent.close()
    guest.close()
  }
}
