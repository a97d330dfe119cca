import { unlessAborted } from "../../src/abort.ts"
import { createAgentClient } from "../../src/agent/client.ts"
import { GUEST } from "../../src/net/slot.ts"
import type { VmHost } from "../vm.ts"

/** An emulated guest on a busy host takes a second; what it said faster than this host takes it, some more. */
const LAST_WORDS_MS = 5000

/**
 * What an application has said and its guest not yet sent, before the guest is killed. Of one that sleeps nothing more is to be had: it
 * sent all but its last quarter of a second before it slept.
 */
export const hearLastWords = async ({ live, secretOf, log }: VmHost, vmId: string): Promise<void> => {
  const found = live(vmId)
  if (found === undefined || found.isOver() || !found.hasRun()) return
  const { vm, guest, words, slot, incarnation } = found
  const signal = AbortSignal.timeout(LAST_WORDS_MS)
  const agent = createAgentClient(slot.address, GUEST.agentPort, secretOf(vmId, incarnation))
  try {
    if ((await words.isKept()) && (await unlessAborted(vm.status(), signal)) === "running")
      await guest.hearAll(agent, signal)
  } catch (error) {
    log.info({ vmId, err: error }, "The last words of an application were not heard")
  } finally {
    agent.close()
  }
}
