import { createAnswer } from "../../machines/environments/answer.ts"
import { createDesk, takeGiven, type Given } from "../../machines/environments/desk.ts"
import type { EnvironmentVerbs } from "../../machines/environment.ts"
import type { Ending } from "../../machines/vm.ts"

type Process = "none" | "running" | "frozen" | "asleep"

/**
 * A second implementation of the verbs, without a VM: it keeps only what there is of a process, answers each event after some turns,
 * and notes every verb that meets a state in which it may not be used.
 */
export const createSimulatedEnvironment = () => {
  const watching = new Set<(ending: Ending) => void>()
  const host = {
    process: "none" as Process,
    isOver: false,
    sleeps: true,
    wakes: true,
    /** What the next event does to its environment. */
    breaks: undefined as Ending | undefined,
    desk: createDesk(),
    done: [] as string[],
    violations: [] as string[],
    /** As the VM's own end does. */
    exit: (ending: Ending) => watching.forEach((end) => end(ending)),
    verbs: {} as EnvironmentVerbs,
    /** Puts an event on the desk; whoever does tells the machine. */
    give() {
      const answer = createAnswer()
      const given: Given = {
        event: {
          spec: { requestId: "r", functionArn: "arn", mode: "buffered" },
          payload: Buffer.from("{}"),
          timeoutMs: 3000,
        },
        answer,
      }
      host.desk.given = given
      host.desk.activity.open++
      return answer.answer
    },
    /** The daemon is gone, and what was in its memory. */
    crash() {
      host.desk.given = undefined
      host.desk.activity.open = 0
    },
  }
  const step = async (verb: string, signal?: AbortSignal) => {
    if (host.isOver) host.violations.push(`${verb} after the end`)
    await Promise.resolve()
    signal?.throwIfAborted()
  }
  const answerOne = async ({ answer }: Given, signal: AbortSignal) => {
    if (host.process === "none" || host.process === "asleep") host.violations.push(`an event with ${host.process}`)
    host.process = "running"
    await new Promise((resolve) => setImmediate(resolve))
    const isCut = signal.aborted || host.breaks !== undefined
    answer.begin({ contentType: "application/json", isStreamed: false })
    answer.finish(isCut ? { errorType: "Runtime.ExitError", body: Buffer.from("{}") } : undefined)
    host.desk.activity.open = 0
    host.done.push(isCut ? "cut" : "event")
    answer.settle({ durationMs: 1, billedMs: 1, initMs: undefined, maxMemoryBytes: 0, tail: Buffer.alloc(0) })
    signal.throwIfAborted()
  }
  host.verbs = {
    async launch(_, signal) {
      await step("launch", signal)
      host.process = "running"
      host.done.push("launch")
    },
    async initialise(_, signal) {
      await step("initialise", signal)
      if (host.process !== "running") host.violations.push("initialise without a process")
      host.done.push("init")
    },
    async adopt(_, signal) {
      await step("adopt", signal)
      if (host.process === "none" || host.process === "running") throw new Error(`it was ${host.process}`)
      return host.process
    },
    async serve(_, signal) {
      await step("serve", signal)
      for (let given = takeGiven(host.desk); given !== undefined; given = takeGiven(host.desk)) {
        await answerOne(given, signal)
        if (host.breaks !== undefined) return host.breaks
      }
      await Promise.resolve()
      signal.throwIfAborted()
      host.process = "frozen"
      return null
    },
    async sleep(_, signal) {
      if (host.process === "running") host.violations.push("sleep at an event")
      await step("sleep", signal)
      if (!host.sleeps) return false
      host.process = "asleep"
      host.done.push("sleep")
      return true
    },
    async wake(_, signal) {
      await step("wake", signal)
      if (host.process !== "asleep") host.violations.push(`wake of what is ${host.process}`)
      if (!host.wakes) {
        takeGiven(host.desk)?.answer.refuse(new Error("no room"))
        host.desk.activity.open = 0
        return false
      }
      host.process = "running"
      host.done.push("wake")
      return true
    },
    watch: (_, signal) =>
      new Promise((resolve, reject) => {
        watching.add(resolve)
        signal.addEventListener("abort", () => {
          watching.delete(resolve)
          reject(signal.reason)
        })
      }),
    async shutDown() {
      await step("shutDown")
      host.done.push("shutDown")
    },
    async end() {
      await Promise.resolve()
      takeGiven(host.desk)?.answer.refuse(new Error("over"))
      host.process = "none"
      host.isOver = true
      host.done.push("end")
    },
  }
  return host
}
