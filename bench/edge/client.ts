/** What asks at its own pace, in a process of its own, on one core. Run by itself it is that process. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { Entrance } from "./contestant.ts"
import { echo } from "./echo-client.ts"
import { hold } from "./idle-client.ts"
import { pace } from "./paced-client.ts"

/** Where a client goes, and how often it does what it does. */
export interface Errand {
  readonly to: Entrance
  /** Absent: over plain TCP. */
  readonly ca?: string
  /** Requests, messages or WebSockets. */
  readonly count: number
  /** Requests each second. */
  readonly rate?: number
}

const KINDS = { pace, echo, hold } as const

/** Room for all that a client makes: no collection of its own is taken for the proxy's slowness. */
const FLAGS = ["--min-semi-space-size=64", "--max-semi-space-size=64"]

/** Runs one to its end; what it found, in ms. `whileHeld` runs when all is open, before the client ends. */
export const runClient = async (
  kind: keyof typeof KINDS,
  core: number,
  errand: Errand,
  whileHeld: () => Promise<void> = async () => {},
): Promise<number[]> => {
  const program = [process.execPath, ...FLAGS, fileURLToPath(import.meta.url), "serve", kind, JSON.stringify(errand)]
  const child = spawn("taskset", ["-c", String(core), ...program], { stdio: ["ignore", "inherit", "inherit", "ipc"] })
  const exit = once(child, "exit")
  const [found] = (await Promise.race([once(child, "message"), exit.then(() => [])])) as [number[] | undefined]
  if (found === undefined) throw new Error(`The client '${kind}' failed`)
  try {
    await whileHeld()
  } finally {
    child.disconnect()
    await exit
  }
  return found
}

if (process.argv[2] === "serve") {
  process.send?.(await KINDS[process.argv[3] as keyof typeof KINDS](JSON.parse(process.argv[4] ?? "") as Errand))
  await once(process, "disconnect")
  process.exit(0)
}
