import { connect, type Socket } from "node:net"
import { EventEmitter, once } from "node:events"
import { z } from "zod"
import { wordsOf } from "../../words.ts"

/** What is shown of a refusal: a guest that broke out of its machine may have written it. */
const MAX_REASON_CHARACTERS = 1000

/** How long QEMU may take for one command, once it has answered those before it. */
export interface QmpLimits {
  readonly commandMs: number
  /** For one before which it writes out what the guest has written to its disks. */
  readonly flushMs: number
}

const LIMITS: QmpLimits = { commandMs: 60_000, flushMs: 300_000 }

const flushing: ReadonlySet<string> = new Set([
  "stop",
  "xen-save-devices-state",
  "blockdev-snapshot",
  "blockdev-reopen",
  "blockdev-del",
])

/** A command that QEMU refused; `class` and the message are QEMU's own. */
export class QmpError extends Error {
  override readonly name = "QmpError"
  readonly class: string

  constructor(command: string, { class: name, desc }: { class: string; desc: string }) {
    super(`QEMU refused ${command}: ${wordsOf(desc, MAX_REASON_CHARACTERS)}`)
    this.class = name
  }
}

/** A guest that broke out of its machine speaks here: nothing that it says may harm more than its own VM. */
const QmpMessage = z.object({
  event: z.string().optional(),
  data: z.record(z.string(), z.unknown()).optional(),
  id: z.number().optional(),
  return: z.unknown().optional(),
  error: z.object({ class: z.string(), desc: z.string() }).optional(),
})

/** The longest answer is the end of a guest's console. */
const MAX_LINE_CHARACTERS = 1024 * 1024

const parseMessage = (line: string): z.infer<typeof QmpMessage> | undefined => {
  try {
    return QmpMessage.safeParse(JSON.parse(line)).data
  } catch {
    return undefined
  }
}

/** QEMU's control channel. It emits `event` (name, data) and, once, `close`. */
export interface Qmp extends EventEmitter<{ event: [name: string, data: Record<string, unknown>]; close: [] }> {
  execute<Result = unknown>(command: string, args?: Record<string, unknown>): Promise<Result>
  /** Ends the connection; QEMU runs on, and takes another. */
  close(): void
  readonly closed: boolean
  /** Why this side gave a QEMU up that may still live: it didn't answer in time, or what it said was nothing that QEMU says. */
  readonly failure: Error | undefined
}

/** Connects to a QMP socket and negotiates; the caller closes it. Waits for a QEMU that is still starting, as long as for a command. */
export const openQmp = async (path: string, signal: AbortSignal, limits = LIMITS): Promise<Qmp> => {
  const socket = connect(path)
  try {
    await once(socket, "connect", { signal })
    const qmp = createQmp(socket, limits)
    const abort = () => socket.destroy(signal.reason as Error)
    signal.addEventListener("abort", abort, { once: true })
    try {
      await qmp.execute("qmp_capabilities")
    } finally {
      signal.removeEventListener("abort", abort)
    }
    return qmp
  } catch (error) {
    socket.destroy()
    signal.throwIfAborted()
    throw error
  }
}

const createQmp = (socket: Socket, limits: QmpLimits): Qmp => {
  const emitter = new EventEmitter() as Qmp
  const waiting = new Map<
    number,
    { command: string; resolve: (value: never) => void; reject: (error: Error) => void }
  >()
  let nextId = 1
  let closed = false
  let last: Error | undefined
  let failure: Error | undefined
  let timer: NodeJS.Timeout | undefined
  const giveUp = (error: Error) => {
    failure ??= error
    socket.destroy(error)
  }
  /** The oldest alone has a limit: QEMU answers in order. */
  const watch = () => {
    clearTimeout(timer)
    const [oldest] = waiting
    if (oldest === undefined) return
    const [id, { command }] = oldest
    const ms = flushing.has(command) ? limits.flushMs : limits.commandMs
    timer = setTimeout(() => {
      // After a time in which this process itself stood still, the answer may be there and not yet read.
      setImmediate(() => {
        if (waiting.has(id)) giveUp(new Error(`QEMU did not answer ${command} within ${ms / 1000} s`))
      })
    }, ms)
  }
  const take = (line: string) => {
    const message = parseMessage(line)
    if (message === undefined) {
      giveUp(new Error("QEMU said something that is no message"))
      return
    }
    if (message.event !== undefined) emitter.emit("event", message.event, message.data ?? {})
    const waiter = message.id === undefined ? undefined : waiting.get(message.id)
    if (message.id === undefined || waiter === undefined) return
    waiting.delete(message.id)
    watch()
    if (message.error === undefined) waiter.resolve(message.return as never)
    else waiter.reject(new QmpError(waiter.command, message.error))
  }
  let pending = ""
  socket.setEncoding("utf8").on("data", (text: string) => {
    const lines = (pending + text).split("\n")
    pending = lines.pop() ?? ""
    for (const line of lines) if (!socket.destroyed) take(line)
    if (pending.length > MAX_LINE_CHARACTERS) giveUp(new Error("QEMU said too much in one line"))
  })
  socket.on("error", (error) => (last = error))
  socket.once("close", () => {
    closed = true
    for (const { command, reject } of waiting.values())
      reject(new Error(`QEMU ended before it answered ${command}`, { cause: last }))
    waiting.clear()
    clearTimeout(timer)
    emitter.emit("close")
  })
  // Not by `assign`, which would copy what it is now.
  Object.defineProperty(emitter, "closed", { get: () => closed })
  Object.defineProperty(emitter, "failure", { get: () => failure })
  return Object.assign(emitter, {
    execute: (command: string, args?: Record<string, unknown>) =>
      new Promise<never>((resolve, reject) => {
        if (closed) {
          reject(new Error(`QEMU is gone: ${command} cannot be asked`))
          return
        }
        const id = nextId++
        waiting.set(id, { command, resolve, reject })
        if (waiting.size === 1) watch()
        socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`)
      }),
    close: () => void socket.destroy(),
  })
}
