import type { Cause } from "../../src/db/values.ts"
import { createActivity, isQuiet } from "../../machines/activity.ts"
import type { VmVerbs } from "../../machines/microvm.ts"

type Process = "none" | "running" | "asleep"

/**
 * A second implementation of the verbs, without a VM: it keeps only whether there is a process,
 * and notes every verb that meets a state in which it may not be used.
 */
export const createSimulatedHost = () => {
  const ended = new Set<(ending: { cause: Cause; reason: string }) => void>()
  const host = {
    process: "none" as Process,
    over: false,
    sleeps: true,
    wakes: true,
    activity: createActivity(),
    done: [] as string[],
    violations: [] as string[],
    exit: (ending: { cause: Cause; reason: string }) => ended.forEach((end) => end(ending)),
    verbs: {} as VmVerbs,
  }
  const step = async (verb: string, signal?: AbortSignal) => {
    if (host.over) host.violations.push(`${verb} after the end`)
    await Promise.resolve()
    signal?.throwIfAborted()
  }
  host.verbs = {
    async launch(_, signal) {
      await step("launch", signal)
      host.process = "running"
      host.done.push("launch")
    },
    async sleep(_, signal) {
      if (!isQuiet(host.activity)) host.violations.push("sleep with an unanswered request")
      await step("sleep", signal)
      if (host.process === "none") host.violations.push("sleep without a process")
      if (!host.sleeps) return false
      host.process = "asleep"
      host.done.push("sleep")
      return true
    },
    async wake(_, signal) {
      await step("wake", signal)
      // Already running: a daemon died between the wake and its being written down.
      if (host.process === "none") host.violations.push("wake without a snapshot")
      if (!host.wakes) return false
      host.process = "running"
      host.done.push("wake")
      return true
    },
    watch: (_, signal) =>
      new Promise((resolve, reject) => {
        ended.add(resolve)
        signal.addEventListener("abort", () => {
          ended.delete(resolve)
          reject(signal.reason)
        })
      }),
    async end() {
      await Promise.resolve()
      host.process = "none"
      host.over = true
      host.done.push("end")
    },
  }
  return host
}
