const HEAD_BYTES = 5

/**
 * Takes the pieces of a stream of frames (a kind in one byte, a length in four, and as many bytes) and tells each that is whole. Of one
 * that is longer than `maxBytes` nothing is kept, and nothing told but that it was there: `undefined` for its content.
 */
export const createFrameReader = (
  maxBytes: number,
  onFrame: (kind: number, content: Buffer | undefined) => void,
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
      if (end - HEAD_BYTES > maxBytes) {
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
