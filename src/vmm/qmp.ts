import { connect, type Socket } from "node:net"
import { EventEmitter, once } from "node:events"
import { createInterface } from "node:readline"

/** A command that QEMU refused; `class` and the message are QEMU's own. */
export class QmpError extends Error {
  override readonly name = "QmpError"
  readonly class: string

  constructor(command: string, { class: name, desc }: { class: string; desc: string }) {
    super(`QEMU refused ${command}: ${desc}`)
    this.class = name
  }
}

interface QmpMessage {
  readonly QMP?: unknown
  readonly event?: string
  readonly data?: Record<string, unknown>
  readonly id?: number
  readonly return?: unknown
  readonly error?: { class: string; desc: string }
}

/** QEMU's control channel. It emits `event` (name, data) and, once, `close`. */
export interface Qmp extends EventEmitter<{ event: [name: string, data: Record<string, unknown>]; close: [] }> {
  execute<Result = unknown>(command: string, args?: Record<string, unknown>): Promise<Result>
  /** Ends the connection; QEMU runs on, and takes another. */
  close(): void
  readonly closed: boolean
}

/** Connects to a QMP socket and negotiates; the caller closes it. Waits for a QEMU that is still starting. */
export const openQmp = async (path: string, signal: AbortSignal): Promise<Qmp> => {
  const socket = connect(path)
  try {
    await once(socket, "connect", { signal })
    const qmp = createQmp(socket)
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

const createQmp = (socket: Socket): Qmp => {
  const emitter = new EventEmitter() as Qmp
  const waiting = new Map<
    number,
    { command: string; resolve: (value: never) => void; reject: (error: Error) => void }
  >()
  let nextId = 1
  let closed = false
  let last: Error | undefined
  const lines = createInterface({ input: socket, crlfDelay: Infinity })
  // It repeats the socket's errors, which are dealt with below.
  lines.on("error", () => {})
  lines.on("line", (line) => {
    const message = JSON.parse(line) as QmpMessage
    if (message.event !== undefined) emitter.emit("event", message.event, message.data ?? {})
    const waiter = message.id === undefined ? undefined : waiting.get(message.id)
    if (message.id === undefined || waiter === undefined) return
    waiting.delete(message.id)
    if (message.error === undefined) waiter.resolve(message.return as never)
    else waiter.reject(new QmpError(waiter.command, message.error))
  })
  socket.on("error", (error) => (last = error))
  socket.once("close", () => {
    closed = true
    for (const { command, reject } of waiting.values())
      reject(new Error(`QEMU ended before it answered ${command}`, { cause: last }))
    waiting.clear()
    emitter.emit("close")
  })
  return Object.assign(emitter, {
    execute: (command: string, args?: Record<string, unknown>) =>
      new Promise<never>((resolve, reject) => {
        if (closed) {
          reject(new Error(`QEMU is gone: ${command} cannot be asked`))
          return
        }
        const id = nextId++
        waiting.set(id, { command, resolve, reject })
        socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`)
      }),
    close: () => void socket.destroy(),
    get closed() {
      return closed
    },
  })
}
