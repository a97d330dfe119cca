/** Named process trees: started by crun, ended with everything they have started, their ends told to the host. */
import { spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import { chmod, chown, mkdir, readFile, readlink, rm, writeFile } from "node:fs/promises"
import { constants } from "node:os"
import type { Writable } from "node:stream"
import { setTimeout as sleep } from "node:timers/promises"
import type { ProcessEnd, ProcessSpec } from "../../src/agent/protocol.ts"
import { cgroupOf, fileOf, toOciConfig } from "./container.ts"
import { emptyPlaces, fillPlaces, leavePlaces, prepareMounts, preparePlaces, type Places } from "./mounts.ts"
import { createOutput, type Output } from "./output.ts"
import { openPipes, type Pipe } from "./pipe.ts"
import type { Tell } from "./port.ts"
import { run } from "./run.ts"
import { createShipping, type Shipping } from "./shipping.ts"
import { makeStubs, removeStubs } from "./stubs.ts"
import { findUser } from "./user.ts"

interface Running {
  readonly output: Output
  /** The application's alone: a build step is followed while it runs. */
  readonly shipping: Shipping | undefined
  readonly ended: Promise<ProcessEnd>
  readonly cgroup: string
  /** Of one that waits: what it is told on, and where its mounts will be. */
  readonly input: Writable | null
  readonly places: Places
  /** Its user's. */
  readonly home: string
}

const RUNTIME = ["--cgroup-manager=cgroupfs", "--root=/run/crun"]
/** crun answers with 128 + n for a process that a signal ended. */
const SIGNALS = new Map(Object.entries(constants.signals).map(([name, number]) => [128 + number, name]))

const KILL_AGAIN_MS = 20
const KILLED = 128 + constants.signals.SIGKILL

/** How many processes the kernel has ended for want of memory; counted above the container, which is gone when it has ended. */
const outOfMemoryKills = async ({ container }: ProcessSpec): Promise<number> => {
  const events = await readFile(`/sys/fs/cgroup/torpor-${container}/memory.events`, "utf8").catch(() => "")
  return Number(/^oom_kill (\d+)$/m.exec(events)?.[1] ?? 0)
}

/** The table, as those see it who start processes inside the guest. */
export type ProcessTable = Pick<
  ReturnType<typeof createProcessTable>,
  "start" | "output" | "ended" | "terminate" | "end" | "hasSpoken" | "flush" | "assign" | "fill" | "empty"
>

/** The table; `tell` sends an event to the host. */
export const createProcessTable = (tell: Tell) => {
  const table = new Map<string, Running>()
  let hasSpoken = false

  return {
    /** One that waits is told on its standard input what it is, by {@link assign}. */
    async start(name: string, spec: ProcessSpec, isWaiting = false): Promise<void> {
      if (table.has(name)) throw new Error(`There is a process ${name} already`)
      const bundle = `/run/torpor/bundles/${name}`
      await mkdir(bundle, { recursive: true })
      const user = await findUser(spec.user)
      const { mounts, places } = isWaiting
        ? await preparePlaces(spec.mounts ?? [], `/tmp/places/${name}`)
        : { mounts: await prepareMounts(spec.mounts ?? []), places: [] }
      const config = toOciConfig(name, spec, user, bundle, mounts, isWaiting)
      await writeFile(`${bundle}/config.json`, JSON.stringify(config))
      for (const [index, { content, mode, uid, gid }] of (spec.files ?? []).entries()) {
        await writeFile(fileOf(bundle, index), content, { mode: 0o600 })
        await chown(fileOf(bundle, index), uid, gid)
        await chmod(fileOf(bundle, index), mode)
      }
      await rm(`${bundle}/pid`, { force: true })
      const killsBefore = await outOfMemoryKills(spec)
      const stubs = spec.container === "build" ? await makeStubs(config.mounts) : []
      const [stdout, stderr] = (await openPipes(`${bundle}/stdout`, `${bundle}/stderr`)) as [Pipe, Pipe]
      const child = spawn("crun", [...RUNTIME, "run", "--bundle", bundle, "--pid-file", `${bundle}/pid`, name], {
        stdio: [isWaiting ? "pipe" : "ignore", stdout.writer, stderr.writer],
      })
      const output: Output = createOutput(() => {
        hasSpoken = true
        shipping?.note()
      })
      const shipping = spec.container === "app" ? createShipping(name, output, tell) : undefined
      const heard = Object.entries({ stdout, stderr }).map(async ([stream, { reader, letGo }]) => {
        letGo()
        reader.setEncoding("utf8").on("data", (data: string) => output.add(stream as "stdout" | "stderr", data))
        await new Promise((resolve) => reader.once("close", resolve))
      })
      const ended = new Promise<number>((resolve) => {
        child.once("error", () => resolve(127))
        child.once("close", (code) => resolve(code ?? KILLED))
      }).then(async (code): Promise<ProcessEnd> => {
        await Promise.all(heard)
        // Before its end is told: then its disk is sealed.
        await removeStubs(stubs)
        const outOfMemory = code === KILLED && (await outOfMemoryKills(spec)) > killsBefore
        return { code, signal: SIGNALS.get(code) ?? null, ...(outOfMemory ? { outOfMemory } : {}) }
      })
      // Its end is told as such.
      child.stdin?.on("error", () => {})
      const cgroup = `/sys/fs/cgroup${cgroupOf(name, spec)}`
      table.set(name, { output, shipping, ended, cgroup, input: child.stdin, places, home: user.home })
      void ended.then(async (how) => {
        output.end(how)
        // The host ends the VM when it hears of the exit: the last words come first.
        await shipping?.flush()
        await tell({ event: "exited", process: name, ...how })
      })
      if (spec.container === "app") await exposeUts(`${bundle}/pid`, ended)
    },

    output(name: string): Output {
      const running = table.get(name)
      if (running === undefined) throw new Error(`There is no process ${name}`)
      return running.output
    },

    /** Resolves with how it ended, when all that it said has been heard. */
    ended(name: string): Promise<ProcessEnd> {
      const running = table.get(name)
      if (running === undefined) throw new Error(`There is no process ${name}`)
      return running.ended
    },

    /** Tells one that waits what it is: it has the limits and the variables of `spec`, and the user and the mounts that it was started with. In training it waits again. */
    assign(name: string, spec: ProcessSpec, isTraining: boolean): void {
      const running = table.get(name)
      if (running?.input == null) throw new Error(`No process ${name} waits`)
      const { env, cwd, memoryMaxMiB, pidsMax } = spec
      writeFileSync(`${running.cgroup}/memory.max`, memoryMaxMiB === null ? "max" : String(memoryMaxMiB * 1024 ** 2))
      writeFileSync(`${running.cgroup}/pids.max`, String(pidsMax ?? "max"))
      // It reads no more of it, and closes its end: to end ours would cost an emulated processor more than to leave it until it is over.
      running.input.write(`${JSON.stringify({ env: { HOME: running.home, ...env }, cwd, isTraining })}\n`)
    },

    /** A drive has been mounted: one that waits finds its own of it from now on. */
    fill(name: string, drive: number): void {
      fillPlaces(drive, table.get(name)?.places ?? [])
    },

    /** A drive is about to be unmounted. */
    empty(name: string, drive: number): void {
      emptyPlaces(drive, table.get(name)?.places ?? [])
    },

    /** Asks its first process to end; nothing happens when it has. */
    async terminate(name: string): Promise<void> {
      await run("crun", [...RUNTIME, "kill", name, "TERM"]).catch(() => "")
    },

    /** Whether something was said since the last mark. */
    get hasSpoken(): boolean {
      return hasSpoken
    },

    /** Ships what the application has said until now, and marks the place behind it. */
    async flush(mark: string): Promise<void> {
      hasSpoken = false
      for (const { shipping } of table.values()) await shipping?.flush()
      await tell({ event: "flushed", mark })
    },

    /** Kills the tree and forgets it; nothing happens when there is none. */
    async end(name: string): Promise<void> {
      const running = table.get(name)
      if (running === undefined) return
      let over = false
      const ended = running.ended.then(() => (over = true))
      // Again and again: one that has only just begun may not have its control group yet, or not be in it.
      while (!over) {
        await writeFile(`${running.cgroup}/cgroup.kill`, "1").catch(() => {})
        await Promise.race([ended, sleep(KILL_AGAIN_MS)])
      }
      await run("crun", [...RUNTIME, "delete", "--force", name]).catch(() => "")
      leavePlaces(running.places)
      table.delete(name)
    },
  }
}

/** Where the thaw helper finds the application's UTS namespace, so that it can name the host in it. */
const exposeUts = async (pidFile: string, ended: Promise<ProcessEnd>) => {
  let over = false
  void ended.then(() => (over = true))
  // crun writes the file when the container is made; a build waits here once, nothing else does.
  while (!over) {
    const pid = await readFile(pidFile, "utf8").catch(() => "")
    if (pid !== "") {
      await run("umount", ["/run/torpor/uts"]).catch(() => "")
      await run("mount", ["--bind", `/proc/${pid}/ns/uts`, "/run/torpor/uts"]).catch(async (error: unknown) => {
        // An application that has exited already has no namespace; how it ended is told by its end.
        if (await readlink(`/proc/${pid}/ns/uts`).catch(() => undefined)) throw error
      })
      return
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
