/**
 * Applications in a process of their own, that of nobody else: each keeps its memory while it sleeps, and is reached only while it is
 * awake, at an address that is another's or nobody's before and after. Run by itself it is that process.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import type { Socket } from "node:net"
import { fileURLToPath } from "node:url"
import { createWitness, type Witness } from "./witness.ts"

export const GUEST_PORT = 8080

export interface Guests extends AsyncDisposable {
  /** From here on the application of a VM is reached at the address. */
  thaw(vmId: string, address: string): Promise<void>
  /** Every connection of it ends, whatever is under way, and none is taken any more. */
  freeze(vmId: string): Promise<void>
  /** What the application remembers. */
  seenBy(vmId: string): Promise<Readonly<Record<string, number>>>
}

type Question = { number: number; vmId: string } & (
  | { ask: "thaw"; address: string }
  | { ask: "freeze" }
  | { ask: "seen" }
)

export const startGuests = async (): Promise<Guests> => {
  const child = fork(fileURLToPath(import.meta.url), ["serve"])
  const waiting = new Map<number, (answer: unknown) => void>()
  let number = 0
  child.on("message", ({ number: of, answer }: { number: number; answer: unknown }) => {
    waiting.get(of)?.(answer)
    waiting.delete(of)
  })
  const ask = (question: { vmId: string; ask: Question["ask"]; address?: string }) =>
    new Promise((resolve) => {
      waiting.set(++number, resolve)
      child.send({ number, ...question })
    })
  return {
    thaw: async (vmId, address) => void (await ask({ vmId, ask: "thaw", address })),
    freeze: async (vmId) => void (await ask({ vmId, ask: "freeze" })),
    seenBy: async (vmId) => (await ask({ vmId, ask: "seen" })) as Record<string, number>,
    async [Symbol.asyncDispose]() {
      child.disconnect()
      const [code] = (await once(child, "exit")) as [number | null]
      if (code !== 0) throw new Error(`The guests' process ended with ${code}`)
    },
  }
}

const serve = () => {
  const witnesses = new Map<string, Witness & { sockets: Set<Socket> }>()
  const witnessOf = (vmId: string) => {
    const known = witnesses.get(vmId)
    if (known !== undefined) return known
    const fresh = { ...createWitness(), sockets: new Set<Socket>() }
    fresh.server.on("connection", (socket: Socket) => {
      fresh.sockets.add(socket)
      socket.once("close", () => fresh.sockets.delete(socket))
    })
    witnesses.set(vmId, fresh)
    return fresh
  }
  const answerTo = async (question: Question): Promise<unknown> => {
    const { server, seen, sockets } = witnessOf(question.vmId)
    if (question.ask === "seen") return seen
    if (question.ask === "thaw") return once(server.listen(GUEST_PORT, question.address), "listening")
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of sockets) socket.resetAndDestroy()
    return closed
  }
  process.on("message", (question: Question) => {
    void answerTo(question).then((answer) =>
      process.send?.({ number: question.number, answer: question.ask === "seen" ? answer : null }),
    )
  })
  process.once("disconnect", () => process.exit(0))
}

if (process.argv[2] === "serve") serve()
