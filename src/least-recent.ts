/** Something of a cache: how large it is, and when it was last of use. */
export interface Kept {
  readonly bytes: number
  readonly usedAt: number
}

/** No cache gives away what was of use within this time: somebody may be about to open it. */
export const IN_USE_MS = 3_600_000

/** The least recently used, as many as it takes for the others to be at most `maxBytes`; none that was used since `before`. */
export const leastRecent = <Name>(
  kept: ReadonlyMap<Name, Kept>,
  maxBytes: number,
  before = Date.now() - IN_USE_MS,
): Name[] => {
  let bytes = [...kept.values()].reduce((sum, one) => sum + one.bytes, 0)
  const gone: Name[] = []
  for (const [name, one] of [...kept].toSorted(([, a], [, b]) => a.usedAt - b.usedAt)) {
    if (bytes <= maxBytes || one.usedAt > before) break
    bytes -= one.bytes
    gone.push(name)
  }
  return gone
}
