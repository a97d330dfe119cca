/** A network namespace with somebody in it: one who plays a guest, the internet, or whoever is needed. */
import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import type { Endpoints } from "./endpoints.ts"
import type { Call } from "./peer-program.ts"
import { run } from "./slots-under-test.ts"

const PROGRAM = fileURLToPath(new URL("peer-program.ts", import.meta.url))

export interface Peer extends Omit<Endpoints, "close"> {
  readonly namespace: string
  /** Lines of `ip -batch` inside. */
  ip(...lines: string[]): Promise<void>
  /** Runs a program inside, to its end. */
  run(command: string, ...args: string[]): Promise<string>
  [Symbol.asyncDispose](): Promise<void>
}

/** Starts a program in a namespace; nsenter becomes it, so that its pid is the child's. */
export const spawnIn = (namespace: string, command: string, ...args: string[]): ChildProcess =>
  spawn("nsenter", [`--net=/run/netns/${namespace}`, command, ...args], { stdio: ["pipe", "pipe", "inherit"] })

/** Ends a child of ours; resolves when it is gone. */
export const endChild = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, "exit")
  child.kill("SIGKILL")
  await exited
}

/** Makes the namespace, with its loopback up, and starts somebody in it; the caller disposes both. */
export const openPeer = async (namespace: string): Promise<Peer> => {
  const runIn = (command: string, ...args: string[]) =>
    run("nsenter", `--net=/run/netns/${namespace}`, command, ...args)
  await run("ip", "netns", "add", namespace)
  await runIn("ip", "link", "set", "lo", "up")
  const child = spawnIn(namespace, process.execPath, PROGRAM)
  const waiting = new Map<number, PromiseWithResolvers<never>>()
  let next = 0
  const call =
    (name: keyof Endpoints) =>
    (target?: unknown): Promise<never> => {
      const answer = Promise.withResolvers<never>()
      const message = [++next, name, target ?? null] as Call
      waiting.set(next, answer)
      child.stdin?.write(`${JSON.stringify(message)}\n`)
      return answer.promise
    }
  const started = Promise.withResolvers<never>()
  waiting.set(0, started)
  createInterface({ input: child.stdout ?? process.stdin }).on("line", (line) => {
    const [id, answer, error] = JSON.parse(line) as [number, never, string?]
    if (error === undefined) waiting.get(id)?.resolve(answer)
    else waiting.get(id)?.reject(new Error(error))
    waiting.delete(id)
  })
  await started.promise
  return {
    namespace,
    ip: async (...lines) => void (await runIn("sh", "-ec", "for line; do ip $line; done", "sh", ...lines)),
    run: runIn,
    listen: call("listen"),
    heard: call("heard"),
    tcp: call("tcp"),
    hold: call("hold"),
    drop: call("drop"),
    udp: call("udp"),
    send: call("send"),
    flood: call("flood"),
    resolve: call("resolve"),
    async [Symbol.asyncDispose]() {
      await endChild(child)
      await run("ip", "netns", "del", namespace)
    },
  }
}
