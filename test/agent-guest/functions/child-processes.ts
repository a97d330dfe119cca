/** Named process trees as the agent has them, on this machine: groups of processes instead of containers. */
import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { constants } from "node:os"
import { createOutput, type Output } from "../../../images/agent/output.ts"
import type { ProcessTable } from "../../../images/agent/process-table.ts"
import type { ProcessEnd, ProcessSpec } from "../../../src/agent/protocol.ts"

interface Running {
  readonly child: ChildProcess
  readonly output: Output
  readonly ended: Promise<ProcessEnd>
}

/** A program of a function, in shell. */
export const toSpec = (script: string): ProcessSpec => ({
  argv: ["sh", "-c", script],
  env: { PATH: process.env["PATH"] ?? "" },
  cwd: "/",
  user: "0",
  capabilities: "default",
  memoryMaxMiB: null,
  container: "app",
})

/** `onMark` is told of each mark. */
export const createChildProcesses = (onMark: (mark: string) => void = () => {}): ProcessTable => {
  const table = new Map<string, Running>()
  let hasSpoken = false
  const find = (name: string): Running => {
    const running = table.get(name)
    if (running === undefined) throw new Error(`There is no process ${name}`)
    return running
  }
  const send = (name: string, signal: NodeJS.Signals) => {
    try {
      process.kill(-(find(name).child.pid ?? 0), signal)
    } catch {
      // It has ended.
    }
  }
  return {
    async start(name, { argv, env, cwd }, isWaiting = false) {
      if (table.has(name)) throw new Error(`There is a process ${name} already`)
      const [file = "", ...rest] = argv
      const child = spawn(file, rest, {
        cwd,
        env,
        detached: true,
        stdio: [isWaiting ? "pipe" : "ignore", "pipe", "pipe"],
      })
      const output = createOutput(() => (hasSpoken = true))
      for (const stream of ["stdout", "stderr"] as const)
        child[stream]?.setEncoding("utf8").on("data", (data: string) => output.add(stream, data))
      const ended = once(child, "close").then(([code, signal]): ProcessEnd => {
        const how = { code: code ?? 128 + constants.signals[signal as NodeJS.Signals], signal }
        output.end(how)
        return how
      })
      table.set(name, { child, output, ended })
    },
    output: (name) => find(name).output,
    ended: (name) => find(name).ended,
    get hasSpoken() {
      return hasSpoken
    },
    async flush(mark) {
      hasSpoken = false
      onMark(mark)
    },
    async assign(name, { env, cwd }, isTraining) {
      const { stdin } = find(name).child
      stdin?.write(`${JSON.stringify({ env, cwd, isTraining })}\n`)
      if (!isTraining) stdin?.end()
    },
    fill: () => {},
    empty: () => {},
    terminate: async (name) => send(name, "SIGTERM"),
    async end(name) {
      if (!table.has(name)) return
      send(name, "SIGKILL")
      await find(name).ended
      table.delete(name)
    },
  }
}
