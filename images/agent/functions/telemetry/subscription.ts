/** One subscriber's records on their way to it: held for a while, sent together, and lost rather than held without end. */
import { request } from "node:http"
import { connect, type Socket } from "node:net"
import type { SubscriptionRequest } from "./subscription-request.ts"

export interface Subscription {
  readonly types: SubscriptionRequest["types"]
  /** A record's JSON. */
  add(item: string): void
  /** Sends what is held now; resolves when it is taken or lost. */
  flush(): Promise<void>
  close(): void
}

/** How long a listener may take for one batch; one that takes longer loses it. */
const MAX_SEND_MS = 10_000

/** Beside the batch that is being sent there is one that grows; what fits into neither is counted, and the count is told. */
export const createSubscription = ({
  types,
  destination,
  maxItems,
  maxBytes,
  timeoutMs,
}: SubscriptionRequest): Subscription => {
  let held: string[] = []
  let heldBytes = 0
  let lost = { records: 0, bytes: 0 }
  let timer: NodeJS.Timeout | undefined
  let sending: Promise<void> | undefined
  const closed = new AbortController()
  const send = destination.protocol === "HTTP" ? postTo(destination.url) : writeTo(destination.port, closed.signal)

  const take = (): string[] => {
    const batch = held
    if (lost.records > 0) {
      const { records: droppedRecords, bytes: droppedBytes } = lost
      const reason = "Consumer seems to have fallen behind as it has not acknowledged receipt of logs."
      const record = { reason, droppedRecords, droppedBytes }
      batch.push(JSON.stringify({ time: new Date().toISOString(), type: "platform.logsDropped", record }))
    }
    held = []
    heldBytes = 0
    lost = { records: 0, bytes: 0 }
    return batch
  }

  const sendHeld = async (): Promise<void> => {
    const batch = take()
    if (batch.length === 0 || closed.signal.aborted) return
    await (sending = send(batch, AbortSignal.any([closed.signal, AbortSignal.timeout(MAX_SEND_MS)])).catch(() => {
      lost = { records: lost.records + batch.length, bytes: lost.bytes + lengthOf(batch) }
    }))
    sending = undefined
  }

  const flush = async (): Promise<void> => {
    clearTimeout(timer)
    timer = undefined
    while (sending !== undefined) await sending
    await sendHeld()
  }

  return {
    types,
    add(item) {
      const bytes = Buffer.byteLength(item) + 1
      if (held.length >= maxItems || heldBytes + bytes > maxBytes) {
        if (sending !== undefined) {
          lost = { records: lost.records + 1, bytes: lost.bytes + bytes }
          return
        }
        void sendHeld()
      }
      held.push(item)
      heldBytes += bytes
      timer ??= setTimeout(() => void flush(), timeoutMs)
    },
    flush,
    close() {
      clearTimeout(timer)
      closed.abort()
    },
  }
}

const lengthOf = (batch: readonly string[]) => batch.reduce((sum, item) => sum + Buffer.byteLength(item) + 1, 0)

type Send = (batch: readonly string[], signal: AbortSignal) => Promise<void>

/** Every name that is let through is this guest's own. */
const postTo =
  ({ port, pathname, search, host }: URL): Send =>
  (batch, signal) =>
    new Promise((resolve, reject) => {
      const body = `[${batch.join(",")}]`
      const headers = { host, "content-type": "application/json", "content-length": Buffer.byteLength(body) }
      const path = `${pathname}${search}`
      const posted = request({ host: "127.0.0.1", port: port || 80, path, method: "POST", headers, signal })
      posted.on("error", reject).on("response", (response) => {
        const status = response.statusCode ?? 500
        response.resume().on("error", reject)
        if (status < 300) response.on("end", resolve)
        else reject(new Error(`The listener answered ${status}`))
      })
      posted.end(body)
    })

/** A line each, over one connection. */
const writeTo = (port: number, closed: AbortSignal): Send => {
  let socket: Socket | undefined
  closed.addEventListener("abort", () => socket?.destroy())
  return (batch, signal) =>
    new Promise((resolve, reject) => {
      if (socket === undefined || socket.destroyed) socket = connect({ host: "127.0.0.1", port })
      const stop = () => socket?.destroy(signal.reason as Error)
      signal.addEventListener("abort", stop, { once: true })
      socket.once("error", reject)
      socket.write(batch.map((item) => `${item}\n`).join(""), (error) => {
        signal.removeEventListener("abort", stop)
        socket?.removeListener("error", reject)
        if (error) reject(error)
        else resolve()
      })
    })
}
