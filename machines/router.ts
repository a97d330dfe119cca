/** Where the edge's requests go: endpoints to MicroVMs, awake or to be woken. */
import { LRUCache } from "lru-cache"
import { waitFor, type Actor } from "xstate"
import { createActivity, type Activity } from "./activity.ts"
import type { MicrovmMachine } from "./microvm.ts"
import { findByEndpoint, type MicrovmRow } from "./microvms/microvm-row.ts"
import type { Registry } from "./registry.ts"
import type { Database } from "./vm-row.ts"

/** Why a MicroVM cannot be reached: the edge's own words for it. */
export type Unreachable = "TERMINATED" | "SUSPENDED" | "RESUME_FAILED"

export interface MicrovmTarget {
  readonly kind: "vm"
  readonly vmId: string
  readonly isOpen: boolean
  readonly address: string | undefined
  awake(signal: AbortSignal): Promise<string>
  readonly activity: Activity
}

export interface MicrovmRouter {
  find(host: string): Promise<MicrovmTarget | undefined> | MicrovmTarget | undefined
  activityOf(id: string): Activity
}

export interface RouterOptions {
  readonly db: Database
  /** Where the live VMs of this host are. */
  readonly host: { live(vmId: string): { readonly slot: { readonly address: string } } | undefined }
  /** What follows an endpoint's first label: `vm.localhost`. */
  readonly domain: string
  readonly registry: () => Registry<MicrovmMachine>
  /** Makes what the edge expects to be thrown. */
  readonly refuse: (why: Unreachable) => Error
}

/** Connectors that let HTTP in; a MicroVM without one of them has no port for anybody. */
const OPEN = new Set(["HTTP_INGRESS", "ALL_INGRESS"])
const LABEL = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
/** Endpoints looked up before; rows never change what is kept of them here. */
const KNOWN_ENDPOINTS = 10_000

/** Routes by Host over the registry's actors. */
export const createMicrovmRouter = ({ db, host, domain, registry, refuse }: RouterOptions): MicrovmRouter => {
  // They go with their actors: a number for each MicroVM that ever was would add up.
  const activities = new WeakMap<Actor<MicrovmMachine>, Activity>()
  const targets = new LRUCache<string, MicrovmTarget>({ max: KNOWN_ENDPOINTS })

  const activityOf = (id: string): Activity => {
    const actor = registry().get(id)
    const known = actor && activities.get(actor)
    if (known !== undefined) return known
    const fresh = createActivity()
    if (actor !== undefined) activities.set(actor, fresh)
    return fresh
  }

  const targetOf = ({ id, vmId, idlePolicy, ingressConnectors }: MicrovmRow): MicrovmTarget => {
    const autoResume = idlePolicy?.autoResume ?? true
    const addressNow = () =>
      registry().get(id)?.getSnapshot().hasTag("awake") ? host.live(vmId)?.slot.address : undefined
    return {
      kind: "vm",
      vmId: id,
      isOpen: ingressConnectors.some((name) => OPEN.has(name)),
      get activity() {
        return activityOf(id)
      },
      get address() {
        return addressNow()
      },
      async awake(signal) {
        const actor = registry().get(id)
        if (actor === undefined) throw refuse("TERMINATED")
        const activity = activityOf(id)
        // A request that may not wake it is no wish.
        const wishes = autoResume ? 1 : 0
        activity.held += wishes
        try {
          for (;;) {
            await settled(actor, autoResume, refuse, signal)
            const address = addressNow()
            if (address !== undefined) return address
            if (actor.getSnapshot().hasTag("awake")) throw refuse("RESUME_FAILED")
            // It was suspended again between its being awake and now.
          }
        } finally {
          // In the very tick in which the address was read: from here on it counts as sent.
          activity.held -= wishes
        }
      },
    }
  }

  return {
    activityOf,
    find(name) {
      const label = name.endsWith(`.${domain}`) ? name.slice(0, -domain.length - 1) : ""
      if (!LABEL.test(label)) return undefined
      const known = targets.get(label)
      if (known !== undefined) return known
      return findByEndpoint(db, label).then((row) => {
        if (row === undefined) return undefined
        const target = targetOf(row)
        targets.set(label, target)
        return target
      })
    },
  }
}

/** Resolves once the MicroVM was seen awake, having asked for that if it may; several that wait wake it once. */
const settled = async (
  actor: Actor<MicrovmMachine>,
  autoResume: boolean,
  refuse: RouterOptions["refuse"],
  signal: AbortSignal,
): Promise<void> => {
  signal.throwIfAborted()
  const before = actor.getSnapshot()
  const asleep = before.matches({ alive: "suspended" })
  if ((asleep || before.matches({ alive: "suspending" })) && !autoResume) throw refuse("SUSPENDED")
  // One that is going to sleep is woken by its statechart, which knows of us.
  if (asleep) actor.send({ type: "WAKE" })
  const after = await waitFor(
    actor,
    (snapshot) => snapshot.hasTag("awake") || snapshot.matches({ alive: "suspended" }) || !snapshot.matches("alive"),
    { signal, timeout: Infinity },
  ).catch((error: unknown) => {
    signal.throwIfAborted()
    // The actor ended while we waited.
    if (actor.getSnapshot().status !== "active") throw refuse("TERMINATED")
    throw error
  })
  if (after.matches({ alive: "suspended" })) throw refuse("RESUME_FAILED")
  if (!after.hasTag("awake")) throw refuse("TERMINATED")
}
