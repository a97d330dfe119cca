/** Frames on a connection: a kind in one byte, the length of the content in four (big-endian), and the content. */

export const HEAD_BYTES = 5

/** Of a connection of calls. The host's: its secret, once and first; a call, of a number and JSON; the number of one that it gives up. The guest's: the number of a call, and its result or refusal as JSON. */
export const CALL_KINDS = { secret: 0x53, call: 0x43, cancel: 0x58, result: 0x52, error: 0x45 } as const

/** One frame, whose content is all of the parts. */
export const toFrame = (kind: number, ...parts: readonly Uint8Array[]): Buffer => {
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt8(kind)
  head.writeUInt32BE(
    parts.reduce((bytes, part) => bytes + part.length, 0),
    1,
  )
  return Buffer.concat([head, ...parts])
}

/** A number in four bytes, as frames have them. */
export const toUInt32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/**
 * Takes a stream's bytes, in pieces cut anywhere, and tells each frame when it is whole. Of one that is longer than `maxBytes()` nothing is kept,
 * and nothing told but that it was there: `undefined` for its content; unless `onTooLong` throws as soon as its length is known.
 */
export const createFrameReader = (
  maxBytes: () => number,
  onFrame: (kind: number, content: Buffer | undefined) => void,
  onTooLong = () => {},
): ((piece: Buffer) => void) => {
  let pieces: Buffer[] = []
  let held = 0
  let needed = HEAD_BYTES
  /** Of what is too long: its kind, and how much of it is still to come. */
  let passing: { kind: number; left: number } | undefined

  /** What follows what has been passed over, if it has. */
  const pass = (piece: Buffer): Buffer | undefined => {
    if (passing === undefined) return piece
    if (piece.length < passing.left) {
      passing.left -= piece.length
      return undefined
    }
    const { kind, left } = passing
    passing = undefined
    onFrame(kind, undefined)
    return piece.subarray(left)
  }

  return (piece) => {
    const wanted = pass(piece)
    if (wanted === undefined) return
    pieces.push(wanted)
    held += wanted.length
    // Joined only when a frame is whole: many small pieces of a large one would be copied again and again.
    while (held >= needed) {
      const all = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces)
      const kind = all.readUInt8()
      const end = HEAD_BYTES + all.readUInt32BE(1)
      pieces = [all]
      if (end - HEAD_BYTES > maxBytes()) {
        onTooLong()
        passing = { kind, left: end }
        const rest = pass(all)
        pieces = rest === undefined ? [] : [rest]
        held = rest?.length ?? 0
        needed = HEAD_BYTES
        if (rest === undefined) return
      } else if (held >= end) {
        const rest = all.subarray(end)
        pieces = rest.length > 0 ? [rest] : []
        held = rest.length
        needed = HEAD_BYTES
        onFrame(kind, all.subarray(HEAD_BYTES, end))
      } else needed = end
    }
  }
}
