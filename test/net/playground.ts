/** A host with slots, a guest in one of them, the internet behind it, and a look at what leaves a slot. */
import { expect } from "vitest"
import { linkPrefix, type EgressPolicy } from "../../src/net/policy.ts"
import { parseAddress, toAddress } from "../../src/net/address.ts"
import type { Slot } from "../../src/net/slot.ts"
import type { Slots } from "../../src/net/slots.ts"
import { eventually } from "../fixtures/eventually.ts"
import { createEndpoints, type Endpoints } from "./endpoints.ts"
import { toFrame } from "./frames.ts"
import { openGuest, type Guest } from "./guest.ts"
import { openInternet, type Internet } from "./internet.ts"
import { openNameServer, type TestNameServer } from "./name-server.ts"
import { toAnswer } from "./dns-messages.ts"
import { openRecorder, type Recorder } from "./recorder.ts"
import { never, openHost, policy, run } from "./slots-under-test.ts"

export interface Playground {
  readonly slot: Slot
  /** The host's end of the slot's link, and its name. */
  readonly linkAddress: string
  readonly link: string
  readonly guest: Guest
  readonly internet: Internet
  /** What comes out of the slot's namespace, with what addresses. */
  readonly left: Recorder
  /** The host itself. */
  readonly host: Endpoints
  readonly slots: Slots
  /** The slots of the daemon that comes after. */
  reopen(): Promise<Slots>
  /** Knows that every name is 203.0.113.7; a name that begins with `long` only by TCP. */
  readonly nameServer: TestNameServer
  /** Resolves when all that the guest put on the wire before has gone wherever it goes. */
  settle(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Where the internet always listens. */
export const OPEN_PORT = 7000

/** Opens all of it; the caller disposes it. */
export const openPlayground = async (limits: Partial<EgressPolicy> = {}): Promise<Playground> => {
  const opened = new AsyncDisposableStack()
  try {
    const nameServer = opened.use(
      await openNameServer(({ transport, name, message }) => [
        toAnswer(
          message,
          transport === "udp" && name.startsWith("long")
            ? { truncated: true }
            : { data: [Buffer.from([203, 0, 113, 7])] },
        ),
      ]),
    )
    const { hostId, open } = opened.use(openHost())
    const options = { policy: { ...policy, ...limits }, nameServers: [`${nameServer.address}:${nameServer.port}`] }
    const slots = await open(options)
    opened.defer(() => slots.close())
    const slot = await slots.take(never)
    opened.defer(() => slots.release(slot))
    const link = `${linkPrefix(hostId)}${slot.index}`
    const left = opened.use(await openRecorder(run, link))
    const internet = opened.use(await openInternet(hostId, slot))
    const guest = opened.use(await openGuest(slot))
    const host = createEndpoints()
    opened.defer(() => host.close())
    await internet.listen({ host: internet.address, port: OPEN_PORT })
    let settled = 0
    const held = opened.move()
    return {
      slot,
      linkAddress: toAddress((parseAddress(slot.address) ?? NaN) - 1),
      link,
      guest,
      internet,
      left,
      host,
      slots,
      reopen: () => open(options),
      nameServer,
      async settle() {
        // Packets don't overtake each other; there are two ways onto the wire, by the guest's kernel and past it.
        await guest.udp({ host: internet.address, port: OPEN_PORT })
        const destination = `198.51.100.${++settled}`
        // Again when a limit was in its way.
        await eventually(
          async () => {
            guest.inject(toFrame({ destination }))
            expect(await internet.arrived.seen()).toContain(`udp ${internet.hostAddress} to ${destination}`)
          },
          { interval: 1 },
        )
      },
      [Symbol.asyncDispose]: () => held.disposeAsync(),
    }
  } catch (error) {
    await opened.disposeAsync()
    throw error
  }
}
