/** Where the frames of a WebSocket begin and end in a stream of bytes, RFC 6455, 5.2: numbers only, since every WebSocket has two of it. */
export interface Frames {
  /** How many bytes of a header have come; it has so many, as far as they tell, of which so many say the payload's length. */
  has: number
  headerBytes: number
  lengthBytes: number
  length: number
  /** Bytes of the payload that are still to come. */
  left: number
}

const HEADER_BYTES = 2

/** At the beginning of a frame. */
export const createFrames = (): Frames => ({ has: 0, headerBytes: HEADER_BYTES, lengthBytes: 0, length: 0, left: 0 })

export const isBetweenFrames = ({ has, left }: Frames): boolean => has === 0 && left === 0

/** Goes over bytes, all of them or up to the end of a frame; returns how many. */
export const passFrames = (frames: Frames, chunk: Buffer, toBoundary: boolean): number => {
  let at = 0
  while (at < chunk.length) {
    if (frames.left > 0) {
      const part = Math.min(frames.left, chunk.length - at)
      frames.left -= part
      at += part
    } else takeHeader(frames, chunk[at++] ?? 0)
    if (toBoundary && isBetweenFrames(frames)) break
  }
  return at
}

const takeHeader = (frames: Frames, byte: number): void => {
  const has = ++frames.has
  if (has === HEADER_BYTES) {
    const [length, isMasked] = [byte & 0x7f, (byte & 0x80) !== 0]
    frames.lengthBytes = length === 127 ? 8 : length === 126 ? 2 : 0
    frames.headerBytes = HEADER_BYTES + frames.lengthBytes + (isMasked ? 4 : 0)
    frames.length = frames.lengthBytes === 0 ? length : 0
  } else if (has > HEADER_BYTES && has <= HEADER_BYTES + frames.lengthBytes) frames.length = frames.length * 256 + byte
  if (has < frames.headerBytes) return
  frames.left = frames.length
  frames.has = 0
  frames.headerBytes = HEADER_BYTES
}
