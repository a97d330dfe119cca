/**
 * What the edge counts, for Prometheus. A request touches plain numbers only; they become metrics when somebody asks. A MicroVM is a
 * label as long as it lives, so that there are never more of them than of what runs and sleeps here.
 */
import { Counter, Gauge, Histogram, type Registry } from "prom-client"

export type Protocol = "http/1.1" | "h2" | "websocket"

/** How a function URL answers. */
export type UrlMode = "buffered" | "streamed"

/** Counts one exchange. */
export interface Meter {
  /** Bytes that went into the guest, or came out of it; heads too, but for HTTP/2's. */
  carried(direction: Direction, bytes: number): void
  /** A new connection to the guest was there after so many ms. */
  connected(ms: number): void
  /** It is over; with the status that the client got, none when it left before. */
  end(status: number | undefined): void
}

export interface EdgeMetrics {
  begin(microvmId: string, protocol: Protocol): Meter
  /** Counts one exchange of a function URL: URLs are no labels, since strangers' functions may have any number of them. */
  beginUrl(mode: UrlMode, protocol: Protocol): Meter
  /** A request was held until its MicroVM was awake. */
  held(ms: number): void
  /** The edge answered for itself, by `x-aws-proxy-error` or, where AWS has words, by AWS's. */
  refused(error: string): void
  /** The MicroVM is over: its numbers go. */
  forget(microvmId: string): void
}

type Direction = "in" | "out"
type StatusClass = (typeof STATUS_CLASSES)[number]

/** What a status says; `none` is a client that left before its answer, `other` what no standard knows. */
const STATUS_CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx", "other", "none"] as const

interface Counts {
  readonly requests: Record<StatusClass, number>
  readonly bytes: Record<Direction, number>
  open: number
}

const createCounts = (): Counts => ({
  requests: { "1xx": 0, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0, other: 0, none: 0 },
  bytes: { in: 0, out: 0 },
  open: 0,
})

const toClass = (status: number | undefined): StatusClass => {
  if (status === undefined) return "none"
  return status < 600 ? (STATUS_CLASSES[Math.floor(status / 100) - 1] ?? "other") : "other"
}

/** Registers the edge's metrics. */
export const createEdgeMetrics = (registry: Registry): EdgeMetrics => {
  const byVm = new Map<string, Counts>()
  const byProtocol: Record<Protocol, Counts> = {
    "http/1.1": createCounts(),
    h2: createCounts(),
    websocket: createCounts(),
  }
  const byMode: Record<UrlMode, Counts> = { buffered: createCounts(), streamed: createCounts() }
  const registers = [registry]

  /** The same three of each thing that is counted. */
  const register = (prefix: string, label: string, of: string, counted: () => Iterable<readonly [string, Counts]>) => {
    const requests: Counter = new Counter({
      name: `${prefix}_requests_total`,
      help: `Requests that were let in, by ${of} and class of the status; none is a client that left before.`,
      labelNames: [label, "status"],
      registers,
      collect() {
        requests.reset()
        for (const [name, counts] of counted())
          for (const status of STATUS_CLASSES)
            if (counts.requests[status] > 0) requests.inc({ [label]: name, status }, counts.requests[status])
      },
    })
    const bytes: Counter = new Counter({
      name: `${prefix}_bytes_total`,
      help: `Bytes into guests and out of them, by ${of}.`,
      labelNames: [label, "direction"],
      registers,
      collect() {
        bytes.reset()
        for (const [name, counts] of counted())
          for (const direction of ["in", "out"] as const)
            bytes.inc({ [label]: name, direction }, counts.bytes[direction])
      },
    })
    const open: Gauge = new Gauge({
      name: `${prefix}_open_requests`,
      help: `Requests, streams and WebSockets that are open now, by ${of}.`,
      labelNames: [label],
      registers,
      collect() {
        open.reset()
        for (const [name, counts] of counted()) open.set({ [label]: name }, counts.open)
      },
    })
  }
  register("torpor_edge", "protocol", "the client's protocol", () => Object.entries(byProtocol))
  register("torpor_microvm", "microvm", "MicroVM", () => byVm)
  register("torpor_function_url", "mode", "how the function URL answers", () => Object.entries(byMode))

  const refusals = new Counter({
    name: "torpor_edge_refusals_total",
    help: "Answers of the edge itself, by x-aws-proxy-error or AWS's name.",
    labelNames: ["error"],
    registers,
  })
  const wakeWaits = new Histogram({
    name: "torpor_edge_wake_wait_seconds",
    help: "How long requests were held until their MicroVM was awake.",
    buckets: [0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32],
    registers,
  })
  const connects = new Histogram({
    name: "torpor_edge_connect_seconds",
    help: "How long new connections to guests took.",
    buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1, 5],
    registers,
  })

  const countsOf = (microvmId: string) => {
    const known = byVm.get(microvmId)
    if (known !== undefined) return known
    const counts = createCounts()
    byVm.set(microvmId, counts)
    return counts
  }

  const begin = (...both: readonly Counts[]): Meter => {
    for (const counts of both) counts.open++
    return {
      carried(direction, bytes) {
        for (const counts of both) counts.bytes[direction] += bytes
      },
      connected: (ms) => connects.observe(ms / 1000),
      end(status) {
        const statusClass = toClass(status)
        for (const counts of both) {
          counts.open--
          counts.requests[statusClass]++
        }
      },
    }
  }

  return {
    begin: (microvmId, protocol) => begin(byProtocol[protocol], countsOf(microvmId)),
    beginUrl: (mode, protocol) => begin(byProtocol[protocol], byMode[mode]),
    held: (ms) => wakeWaits.observe(ms / 1000),
    refused: (error) => refusals.inc({ error }),
    forget: (microvmId) => void byVm.delete(microvmId),
  }
}
