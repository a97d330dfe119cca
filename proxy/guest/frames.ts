/** Where the frames of a WebSocket begin and end in a stream of bytes: RFC 6455, 5.2. */
export interface Frames {
  /** Goes over bytes, all of them or up to the end of a frame; returns how many. */
  pass(chunk: Buffer, toBoundary?: boolean): number
  isBetween(): boolean
}

/** Holds numbers only: there are two of these for every WebSocket. */
export const createFrames = (): Frames => {
  /** Bytes of a header that have come, how many it has as far as they tell, and how many of them say the length. */
  let [has, headerLength, lengthBytes] = [0, 2, 0]
  let length = 0
  /** Of the payload, still to come. */
  let left = 0

  const takeHeader = (byte: number) => {
    has++
    if (has === 2) {
      const [short, isMasked] = [byte & 0x7f, (byte & 0x80) !== 0]
      lengthBytes = short === 127 ? 8 : short === 126 ? 2 : 0
      headerLength = 2 + lengthBytes + (isMasked ? 4 : 0)
      length = lengthBytes === 0 ? short : 0
    } else if (has > 2 && has <= 2 + lengthBytes) length = length * 256 + byte
    if (has < headerLength) return
    left = length
    has = 0
    headerLength = 2
  }

  return {
    isBetween: () => has === 0 && left === 0,
    pass(chunk, toBoundary = false) {
      let at = 0
      while (at < chunk.length) {
        if (left > 0) {
          const part = Math.min(left, chunk.length - at)
          left -= part
          at += part
        } else takeHeader(chunk[at++] ?? 0)
        if (toBoundary && has === 0 && left === 0) break
      }
      return at
    },
  }
}
