/** An environment as this daemon knows it: its VM's guest while there is one, and how its function's programs are. */
import { createAgentClient, type AgentClient } from "../../src/agent/client.ts"
import type { FunctionSpec } from "../../src/agent/protocol.ts"
import type { ThawInput } from "../../src/agent/thaw.ts"
import { GUEST } from "../../src/net/slot.ts"
import type { Definition } from "../functions/definition.ts"
import type { LiveVm } from "../vm.ts"
import type { Desk } from "./desk.ts"
import type { InitializationType } from "./environments.ts"
import { createPlatformLog, type PlatformLog } from "./platform-log.ts"
import { toEndSignal } from "./vm-end.ts"

/**
 * A connection of the agent is trusted for so long while its guest is stopped. What was on its way then is sent again and again, until
 * its sender gives up, or a translation of addresses between the two: after minutes, and nobody would be told.
 */
const CONNECTED_MS = 60_000

export interface Connection {
  readonly live: LiveVm
  agent: AgentClient
  readonly log: PlatformLog
  readonly identity: ThawInput
  /** Aborted when the VM has ended by itself. */
  readonly gone: AbortSignal
}

export interface Session {
  readonly vmId: string
  readonly definition: Definition
  readonly initialization: InitializationType
  /** Throws when there is no such runtime any more. */
  readonly toSpec: () => FunctionSpec
  readonly desk: Desk
  connection: Connection | undefined
  /** Settled when the function's drives are mounted; forgotten when that has been waited for. */
  mounting: Promise<void> | undefined
  /** The VM is stopped. */
  isFrozen: boolean
  frozenAt: number
  /** Whether the function's programs are there to take an event; of one that was taken over nobody knows before it is asked. */
  programs: "ended" | "running" | "unknown"
  /** Whether any of them wants to know of its end. */
  hasExtensions: boolean
  initFailure: string | undefined
  /** How long its Init took, until the event that waited for it has been told. */
  initMs: number | undefined
  /** The same of its restore, with what of it is billed: its hooks. */
  restored: RestoreTimes | undefined
}

export interface RestoreTimes {
  readonly restoreMs: number
  readonly billedRestoreMs: number
}

/** What is known of one before it has a VM. */
export const createSession = (
  given: Pick<Session, "vmId" | "definition" | "initialization" | "toSpec" | "desk">,
): Session => ({
  ...given,
  connection: undefined,
  mounting: undefined,
  isFrozen: false,
  frozenAt: 0,
  programs: "ended",
  hasExtensions: false,
  initFailure: undefined,
  initMs: undefined,
  restored: undefined,
})

/** Speaks to the guest of this life of the VM from now on, by a client that there is already or one that connects when it is first used. */
export const connectSession = (
  session: Session,
  live: LiveVm,
  identity: ThawInput,
  agent = connectAgent(live, identity),
): Connection => {
  disconnectSession(session)
  const log = createPlatformLog(session, live.words)
  live.listen(log.hear)
  return (session.connection = { live, agent, log, identity, gone: toEndSignal(live) })
}

const connectAgent = ({ slot }: LiveVm, { secret }: ThawInput): AgentClient =>
  createAgentClient(slot.address, GUEST.agentPort, secret)

/** Lets go of the guest, whose VM goes on or not. */
export const disconnectSession = (session: Session): void => {
  session.connection?.agent.close()
  session.connection = undefined
}

/** The connection of one that must have one. */
export const connectionOf = ({ connection, vmId }: Session): Connection => {
  if (connection === undefined) throw new Error(`The environment of VM ${vmId} is not connected`)
  return connection
}

/**
 * The VM runs, and its clock is that of now. What is sent to the agent meanwhile may arrive before that: an event says when it was sent,
 * and waits for the clock. One that an earlier daemon has left may have been frozen, too, as a snapshot is.
 */
export const thawSession = async (session: Session, signal: AbortSignal): Promise<void> => {
  if (!session.isFrozen) return
  const connection = connectionOf(session)
  const { live, identity } = connection
  session.isFrozen = false
  if (performance.now() - session.frozenAt > CONNECTED_MS) {
    connection.agent.close()
    connection.agent = connectAgent(live, identity)
  }
  const isLeft = session.programs === "unknown"
  await Promise.all([live.vm.continue(), isLeft ? live.guest.thaw(identity, signal) : live.guest.setClock(signal)])
}

/** The VM is stopped wherever it is: that needs nothing of its guest, and what becomes a snapshot is frozen for it. */
export const freezeSession = async (session: Session): Promise<void> => {
  if (session.isFrozen) return
  const { live } = connectionOf(session)
  await live.vm.pause()
  session.isFrozen = true
  session.frozenAt = performance.now()
}
