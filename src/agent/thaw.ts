import { connect } from "node:net"
import { once } from "node:events"
import { randomBytes } from "node:crypto"

export interface Identity {
  /** 1–63 characters of a host name. */
  readonly hostname: string
  /** 32 hex digits. */
  readonly machineId: string
}

export interface ThawInput extends Identity {
  readonly incarnation: number
  /** 32 bytes; what the agent asks the host for from here on. */
  readonly secret: Buffer
}

/** The line to the guest's native helper: the only thing between a restore and the application's next instruction. */
export interface ThawPort {
  /** Stops the application where it is; nothing of it runs until the next thaw. */
  freeze(signal: AbortSignal): Promise<void>
  /** Sets clock, identity, entropy and secret, then lets the application run. */
  thaw(input: ThawInput, signal: AbortSignal): Promise<void>
  close(): void
}

/** A guest that doesn't answer in this time is broken, or hostile. */
const ANSWER_TIMEOUT_MS = 15_000
const MAX_ANSWER_BYTES = 512
const ENTROPY_BYTES = 64

/** Connects to a VM's thaw port; the caller closes it. Best before the guest runs, so that it finds somebody there. */
export const openThawPort = async (path: string, signal: AbortSignal): Promise<ThawPort> => {
  const socket = connect(path)
  await once(socket, "connect", { signal })
  socket.on("error", () => {})

  const ask = async (line: string, askSignal: AbortSignal): Promise<void> => {
    const bounded = AbortSignal.any([askSignal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)])
    const answer = new Promise<string>((resolve, reject) => {
      let text = ""
      const onData = (chunk: Buffer) => {
        text += chunk.toString("latin1")
        if (text.endsWith("\n") || text.length > MAX_ANSWER_BYTES)
          done(() => resolve(text.slice(0, MAX_ANSWER_BYTES).trim()))
      }
      const onClose = () => done(() => reject(new Error("The guest's thaw port was closed")))
      const onAbort = () =>
        done(() =>
          reject(askSignal.aborted ? (askSignal.reason as Error) : new Error("The guest did not answer in time")),
        )
      const done = (settle: () => void) => {
        socket.off("data", onData).off("close", onClose)
        bounded.removeEventListener("abort", onAbort)
        settle()
      }
      socket.on("data", onData).once("close", onClose)
      bounded.addEventListener("abort", onAbort, { once: true })
    })
    socket.write(`${line}\n`)
    const text = await answer
    if (text !== "OK") throw new Error(`The guest refused: ${text}`)
  }

  return {
    freeze: (freezeSignal) => ask("F", freezeSignal),
    thaw: ({ hostname, machineId, incarnation, secret }, thawSignal) => {
      const entropy = randomBytes(ENTROPY_BYTES).toString("hex")
      // Taken last: what passes until the guest reads it is what its clock is late.
      const now = BigInt(Date.now()) * 1_000_000n
      return ask(`T ${now} ${hostname} ${machineId} ${entropy} ${secret.toString("hex")} ${incarnation}`, thawSignal)
    },
    close: () => void socket.destroy(),
  }
}
