/** The Telemetry API: what happens in an environment, and what its programs say, told to the extensions that subscribed. */
import { readBody } from "../body.ts"
import { answer, type Exchange, type Route } from "../exchange.ts"
import type { Extension } from "../extensions.ts"
import { Refusal } from "../refusal.ts"
import { createSubscription, type Subscription } from "./subscription.ts"
import { parseSubscription } from "./subscription-request.ts"

export type RecordKind = "platform" | "function" | "extension"

const MAX_BODY_BYTES = 64 * 1024
/** What one line of a program may be in a record: more is cut, so that a record always fits into the smallest buffer. */
const MAX_LINE_CHARACTERS = 40 * 1024
/** Of what happened before a subscription: an init has no more than a few for each extension. */
const MAX_EARLY = 64

export interface Telemetry {
  readonly routes: Readonly<Record<string, Route>>
  /** `type` as `platform.start`, with its record. */
  platform(type: string, record: object): void
  /** One line that the function's or an extension's program said. */
  line(kind: "function" | "extension", line: string): void
  /** Sends what is held; resolves when it is taken or lost. */
  flush(): Promise<void>
  close(): void
}

/** The subscriptions of one life, one for each extension; they are made before its init is over. */
export const createTelemetry = (find: (exchange: Exchange) => Extension, isOpen: () => boolean): Telemetry => {
  const subscriptions = new Map<string, Subscription>()
  const early: string[] = []

  const add = (kind: RecordKind, type: string, record: unknown) => {
    if (subscriptions.size === 0 && !isOpen()) return
    const item = JSON.stringify({ time: new Date().toISOString(), type, record })
    if (kind === "platform" && isOpen() && early.length < MAX_EARLY) early.push(item)
    for (const subscription of subscriptions.values()) if (subscription.types.has(kind)) subscription.add(item)
  }

  const subscribe = async (exchange: Exchange) => {
    const extension = find(exchange)
    const body = await readBody(exchange.request, MAX_BODY_BYTES).catch(() => undefined)
    const asked = parseSubscription(body)
    if (!isOpen())
      throw new Refusal(403, "Telemetry.SubscriptionClosed", "Telemetry API subscription is closed already")
    // One that subscribes again has changed its mind.
    subscriptions.get(extension.id)?.close()
    const subscription = createSubscription(asked)
    subscriptions.set(extension.id, subscription)
    // An extension cannot subscribe before its init has begun, and hears of that all the same.
    if (asked.types.has("platform")) for (const item of early) subscription.add(item)
    add("platform", "platform.telemetrySubscription", {
      name: extension.name,
      state: "Subscribed",
      types: [...asked.types],
    })
    answer(exchange.response, 200, "OK", { "content-type": "text/plain; charset=utf-8" })
  }

  return {
    routes: { "PUT /2022-07-01/telemetry": subscribe, "PUT /2020-08-15/logs": subscribe },
    platform: (type, record) => add("platform", type, record),
    line: (kind, line) => add(kind, kind, line.slice(0, MAX_LINE_CHARACTERS)),
    async flush() {
      await Promise.all([...subscriptions.values()].map((subscription) => subscription.flush()))
    },
    close() {
      for (const subscription of subscriptions.values()) subscription.close()
    },
  }
}
