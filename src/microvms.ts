/** Lambda MicroVMs of a daemon, put together: their lives, and the way to those that run. */
import type { Registry as Metrics } from "prom-client"
import { createLightSleep } from "../machines/vms/light-sleep.ts"
import { createMicrovmMachine, toMicrovmState, type MicrovmMachine } from "../machines/microvm.ts"
import { saveMicrovm } from "../machines/microvms/microvm-row.ts"
import { restoreMicrovms } from "../machines/recovery.ts"
import { createRegistry, type Registry } from "../machines/registry.ts"
import { createMicrovmRouter, type MicrovmRouter } from "../machines/router.ts"
import type { Spares } from "../machines/vms/spares.ts"
import { createVmVerbs } from "../machines/vms/vm-life.ts"
import { RouteError } from "../proxy/route.ts"
import type { RoomGround } from "./room-ground.ts"

export interface MicrovmRoomsOptions extends RoomGround {
  readonly spares: Spares
  readonly metrics: Metrics
  /** Told which MicroVM can be reached no longer, and which is over. */
  readonly onDisconnected: (id: string) => void
  readonly onOver: (id: string) => void
}

export interface MicrovmRooms extends AsyncDisposable {
  readonly microvms: Registry<MicrovmMachine>
  readonly router: MicrovmRouter
}

/**
 * Opens them, after the sweep of this host; MicroVMs that run can be reached when it resolves. Disposing leaves them as they are, but
 * that those that sleep have no process.
 */
export const openMicrovmRooms = async (options: MicrovmRoomsOptions, signal: AbortSignal): Promise<MicrovmRooms> => {
  const { config, db, host, places, spares, createOverlay, work } = options
  const { log } = host
  await using opened = new AsyncDisposableStack()
  // Statecharts wait for their own rows, by way of the registry that will own them.
  const registries = {} as { microvms: Registry<MicrovmMachine> }
  const vmOwner = new Map<string, string>()
  const router = createMicrovmRouter({
    db,
    host,
    domain: `vm.${config.domain}`,
    registry: () => registries.microvms,
    refuse: (why) => new RouteError(why),
  })
  const lightSleep = opened.use(
    createLightSleep({
      host,
      max: config.lightSleep.max,
      maxMemoryShare: config.lightSleep.maxMemoryShare,
      keptMs: config.lightSleep.seconds * 1000,
      metrics: options.metrics,
    }),
  )
  const verbs = createVmVerbs({
    host,
    places,
    createOverlay,
    spares,
    lightSleep,
    stored: (vmId) => registries.microvms.stored(vmOwner.get(vmId) ?? vmId),
  })
  registries.microvms = createRegistry(
    {
      name: "microvm",
      machine: createMicrovmMachine(work.count(verbs), router.activityOf),
      save: (id, generation, snapshot, persisted) =>
        db.transaction((tx) => saveMicrovm(tx, id, generation, snapshot, persisted)),
      observe(id, snapshot) {
        const { vmId, cause, stateReason } = snapshot.context
        log.info(
          { microvm: id, vmId, state: toMicrovmState(snapshot), cause, reason: stateReason ?? undefined },
          "MicroVM",
        )
        vmOwner.set(vmId, id)
        if (!snapshot.hasTag("connected")) options.onDisconnected(id)
        if (snapshot.hasTag("over")) {
          vmOwner.delete(vmId)
          options.onOver(id)
        }
      },
    },
    log,
  )
  opened.defer(() => registries.microvms.close())
  await restoreMicrovms(host, registries.microvms, signal)
  const held = opened.move()
  return { ...registries, router, [Symbol.asyncDispose]: () => held.disposeAsync() }
}
