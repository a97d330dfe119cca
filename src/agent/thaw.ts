import { randomBytes } from "node:crypto"
import { openSocket } from "../unix-socket.ts"
import { wordsOf } from "../words.ts"

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
  /** As {@link ThawPort.thaw}, but the application stays frozen: another thaw is to come. */
  rehearse(input: ThawInput, signal: AbortSignal): Promise<void>
  /** Sets the clock of a guest that was stopped, and is the same as before in all else. */
  setClock(signal: AbortSignal): Promise<void>
  close(): void
}

/** A guest that doesn't answer in this time is broken, or hostile. */
const ANSWER_TIMEOUT_MS = 15_000
const MAX_ANSWER_CHARACTERS = 512
/** One may be owed to a daemon that died after it had asked; a guest that goes on is not listened to any more. */
const MAX_UNASKED = 8
const ENTROPY_BYTES = 64
/** Of a question's number: as many as the helper gives back. */
const NUMBER_BYTES = 8

/** Connects to a VM's thaw port; the caller closes it. Best before the guest runs, so that it finds somebody there. */
export const openThawPort = async (path: string, signal: AbortSignal): Promise<ThawPort> => {
  const socket = await openSocket(path, signal)
  /** What was asked and not answered yet, also what was given up, by its number; no other connection has the same ones. */
  const asked = new Map<string, { resolve(answer: string): void; reject(error: Error): void }>()
  let pending = ""
  let unasked = 0
  let over: Error | undefined

  const end = (why: Error) => {
    over ??= why
    socket.destroy()
    for (const { reject } of asked.values()) reject(over)
    asked.clear()
  }
  socket.setEncoding("latin1").on("data", (text: string) => {
    const lines = (pending + text).split("\n")
    pending = lines.pop() ?? ""
    for (const line of lines) {
      const [number = ""] = line.split(" ", 1)
      const question = asked.get(number)
      asked.delete(number)
      if (question !== undefined) question.resolve(line.slice(number.length + 1))
      else if (++unasked > MAX_UNASKED) end(new Error("The guest answered what it was not asked"))
    }
    if (pending.length > MAX_ANSWER_CHARACTERS) end(new Error("The guest's answer is too long"))
  })
  socket.once("close", () => end(new Error("The guest's thaw port was closed")))

  const ask = async (line: string, askSignal: AbortSignal): Promise<void> => {
    askSignal.throwIfAborted()
    if (over !== undefined) throw over
    const bounded = AbortSignal.any([askSignal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)])
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const giveUp = () =>
      reject(askSignal.aborted ? (askSignal.reason as Error) : new Error("The guest did not answer in time"))
    bounded.addEventListener("abort", giveUp, { once: true })
    const number = randomBytes(NUMBER_BYTES).toString("hex")
    asked.set(number, { resolve, reject })
    socket.write(`${number} ${line}\n`)
    try {
      const text = await promise
      if (text !== "OK") throw new Error(`The guest refused: ${wordsOf(text, MAX_ANSWER_CHARACTERS)}`)
    } finally {
      bounded.removeEventListener("abort", giveUp)
    }
  }

  const thawAs = (
    command: "T" | "R",
    { hostname, machineId, incarnation, secret }: ThawInput,
    thawSignal: AbortSignal,
  ) => {
    const entropy = randomBytes(ENTROPY_BYTES).toString("hex")
    const identity = `${hostname} ${machineId} ${entropy} ${secret.toString("hex")} ${incarnation}`
    return ask(`${command} ${now()} ${identity}`, thawSignal)
  }

  return {
    freeze: (freezeSignal) => ask("F", freezeSignal),
    thaw: (input, thawSignal) => thawAs("T", input, thawSignal),
    rehearse: (input, thawSignal) => thawAs("R", input, thawSignal),
    setClock: (clockSignal) => ask(`C ${now()}`, clockSignal),
    close: () => void socket.destroy(),
  }
}

/** Taken last: what passes until the guest reads it is what its clock is late. */
const now = () => BigInt(Date.now()) * 1_000_000n
