/** What real clients are tried on: MicroVMs of one image, whose application speaks every protocol. */
import type { ProcessMemory } from "../../fixtures/process-memory.ts"
import type { Seen } from "../../fixtures/clients-app/routes.ts"

/** One that the tokens are for and nobody listens on. */
export const UNUSED_PORT = 9999

/** A MicroVM as its clients know it. */
export interface Reached {
  /** Host and port of its URL. */
  readonly name: string
  /** For every port of the application, and the unused one. */
  readonly token: string
}

export interface Ground {
  readonly ca: string
  readonly caFile: string
  readonly vm: Reached
  /** Another one, of the same image. */
  readonly neighbour: Reached
  /** A link by which a browser enters one of them, at a path. */
  link(to: "vm" | "neighbour", path: string): Promise<string>
  /** Puts the first one to sleep; resolves when it was asked to. */
  sleep(): Promise<void>
  /** Resolves when the first one sleeps. */
  untilAsleep(): Promise<void>
  /** How much the daemon holds. */
  memory(): Promise<ProcessMemory>
}

/** The headers that lead to a port. */
export const headersTo = ({ token }: Reached, port?: number): Record<string, string> => ({
  "x-aws-proxy-auth": token,
  ...(port === undefined ? {} : { "x-aws-proxy-port": String(port) }),
})

/** What the application says that it saw. */
export const parseSeen = (text: string): Seen => JSON.parse(text) as Seen
