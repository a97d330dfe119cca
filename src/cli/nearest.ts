/** The candidate that somebody who typed `word` most likely meant: it begins with it, or differs by a third of its letters at most. */
export const nearest = (word: string, candidates: readonly string[]): string | undefined => {
  const beginning = candidates.find((candidate) => word.length > 1 && candidate.startsWith(word))
  if (beginning !== undefined) return beginning
  const [best] = candidates
    .map((candidate) => ({ candidate, distance: distanceBetween(word, candidate) }))
    .filter(({ candidate, distance }) => distance <= Math.max(1, Math.floor(candidate.length / 3)))
    .toSorted((a, b) => a.distance - b.distance)
  return best?.candidate
}

/** How many letters are inserted, left out, replaced or swapped with their neighbour between two words. */
const distanceBetween = (from: string, to: string): number => {
  // A word can be as long as the kernel allows; none of ours is, and the table grows with both.
  if (Math.abs(from.length - to.length) > to.length) return Infinity
  const rows = [Array.from({ length: to.length + 1 }, (_, column) => column)]
  const at = (row: number, column: number) => rows[row]?.[column] ?? Infinity
  for (let row = 1; row <= from.length; row++) {
    rows[row] = [row]
    for (let column = 1; column <= to.length; column++) {
      const same = from[row - 1] === to[column - 1]
      const swapped = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      rows[row]?.push(
        Math.min(
          at(row - 1, column) + 1,
          at(row, column - 1) + 1,
          at(row - 1, column - 1) + (same ? 0 : 1),
          swapped ? at(row - 2, column - 2) + 1 : Infinity,
        ),
      )
    }
  }
  return at(from.length, to.length)
}
