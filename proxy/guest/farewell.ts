/** The last word on a WebSocket that the edge ends itself: a close frame each way (RFC 6455, 5.5.1), where a frame may begin. */
import { randomBytes } from "node:crypto"
import type { Readable, Writable } from "node:stream"
import { createFrames, isBetweenFrames, passFrames } from "./frames.ts"

/** Status 1001, going away: the other end may come back. */
const GOING_AWAY = Buffer.from([0x03, 0xe9])

/** What a server sends. */
export const closeFrame = (): Buffer => Buffer.concat([Buffer.from([0x88, GOING_AWAY.length]), GOING_AWAY])

/** What a client sends: masked, or the server would refuse it. */
export const maskedCloseFrame = (): Buffer => {
  const mask = randomBytes(4)
  const masked = GOING_AWAY.map((byte, index) => byte ^ (mask[index] ?? 0))
  return Buffer.concat([Buffer.from([0x88, 0x80 | GOING_AWAY.length]), mask, masked])
}

/**
 * Carries frames from one end to another, as fast as they are taken, and ends with them. The function it returns ends them with a frame
 * of ours, as soon as the one that is under way is over. By hand: a pipe would be nine closures for each way of each idle WebSocket.
 */
export const carryFrames = (from: Readable, to: Writable, toFarewell: () => Buffer): (() => void) => {
  const frames = createFrames()
  let isLeaving = false
  const leave = () => {
    if (!to.writableEnded) to.end(toFarewell())
    // Whatever still comes is read and dropped, so that its sender gets to read our close frame.
    from.resume()
  }
  from
    .on("data", (chunk: Buffer) => {
      if (to.destroyed || to.writableEnded) return
      const passed = passFrames(frames, chunk, isLeaving)
      if (!to.write(passed === chunk.length ? chunk : chunk.subarray(0, passed))) from.pause()
      if (isLeaving && isBetweenFrames(frames)) leave()
    })
    .once("end", () => to.end())
    .resume()
  to.on("drain", () => from.resume())
  return () => {
    isLeaving = true
    if (isBetweenFrames(frames)) leave()
  }
}
