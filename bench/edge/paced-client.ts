import type { Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import type { Errand } from "./client.ts"
import { headOf, openConnection } from "./connection.ts"

const CONNECTIONS = 32

/**
 * Asks at the times of a schedule, on whichever connection is free, and measures from the time that was scheduled: an answer that is
 * late makes those that wait behind it late too. A second's worth comes before those that count: what is compiled at the first ones is
 * not the proxy's.
 */
export const pace = async (errand: Errand): Promise<number[]> => {
  const { count, rate = 1 } = errand
  const head = headOf(errand, "/")
  const took: number[] = []
  const waiting: number[] = []
  const free: Socket[] = []
  const done = Promise.withResolvers<void>()
  let countsAt = Infinity

  const send = (socket: Socket, dueAt: number) => {
    let text = ""
    const onData = (data: Buffer) => {
      text += data.toString("latin1")
      const end = text.indexOf("\r\n\r\n")
      const length = /\r\ncontent-length: (\d+)/i.exec(text)?.[1]
      if (end < 0 || text.length < end + 4 + Number(length ?? Number.NaN)) return
      if (dueAt >= countsAt) took.push(performance.now() - dueAt)
      if (!text.startsWith("HTTP/1.1 200")) done.reject(new Error(`Answered with ${text}`))
      if (took.length === count) done.resolve()
      socket.off("data", onData)
      const next = waiting.shift()
      if (next === undefined) free.push(socket)
      else send(socket, next)
    }
    socket.on("data", onData).write(head)
  }

  for (let number = 0; number < CONNECTIONS; number++) {
    const socket = await openConnection(errand)
    free.push(socket.once("close", () => done.reject(new Error("A connection was closed"))))
  }
  const beginsAt = performance.now()
  countsAt = beginsAt + 1000
  for (let sent = 0; sent < count + rate;) {
    const dueAt = beginsAt + (sent * 1000) / rate
    if (dueAt > performance.now()) {
      await sleep(1)
      continue
    }
    sent++
    const socket = free.shift()
    if (socket === undefined) waiting.push(dueAt)
    else send(socket, dueAt)
  }
  await done.promise
  return took
}
