import { Transform } from "node:stream"

const MS_PER_SECOND = 1000
/** What may be sent at once after a rest, in time: short answers are not held up. */
const BURST_MS = 100

/** One direction of one VM: what its streams, all together, may carry. */
export interface Pace {
  /** Takes room for so many bytes; how long they must wait for it, in ms. */
  reserve(bytes: number): number
}

/** `now` is in ms, of any clock that never goes back. */
export const createPace = (bytesPerSecond: number, now: () => number = () => performance.now()): Pace => {
  let freeAt = 0
  return {
    reserve(bytes) {
      const time = now()
      freeAt = Math.max(freeAt, time - BURST_MS) + (bytes * MS_PER_SECOND) / bytesPerSecond
      return Math.max(0, freeAt - time)
    },
  }
}

/** A stream that lets bytes through at a pace, in turn with the others of the same pace; who writes to it is held back. */
export const createPacedStream = (pace: Pace): Transform => {
  let waiting: NodeJS.Timeout | undefined
  return new Transform({
    transform(chunk: Buffer, _, done) {
      const waitMs = pace.reserve(chunk.length)
      if (waitMs < 1) done(undefined, chunk)
      else waiting = setTimeout(done, waitMs, undefined, chunk)
    },
    destroy(error, done) {
      clearTimeout(waiting)
      done(error)
    },
  })
}
