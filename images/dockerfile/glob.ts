/**
 * COPY's globs: Go's filepath.Match, part by part. `*` and `?` stop at a slash, `[a-z]` and `[^a]` are sets, a backslash escapes.
 * The work is bounded by pattern times name, whatever a stranger writes: no regular expression is made of it.
 */
export const matchesGlob = (pattern: string, path: string): boolean => {
  const [patterns, names] = [pattern.split("/"), path.split("/")]
  return patterns.length === names.length && patterns.every((part, index) => matchesPart(part, names[index] ?? ""))
}

/** Whether a pattern is more than a path. */
export const isGlob = (pattern: string) => /[*?[\\]/.test(pattern)

const matchesPart = (pattern: string, name: string): boolean => {
  let [p, n] = [0, 0]
  /** Where to go on if what follows the last star doesn't match: one character further. */
  let star: { p: number; n: number } | undefined
  while (n < name.length) {
    if (pattern[p] === "*") {
      star = { p: ++p, n }
      continue
    }
    const next = matchOne(pattern, p, name[n] ?? "")
    if (next !== undefined) {
      p = next
      n++
    } else if (star !== undefined) {
      p = star.p
      n = ++star.n
    } else return false
  }
  while (pattern[p] === "*") p++
  return p === pattern.length
}

/** Matches one character; answers where the pattern goes on. */
const matchOne = (pattern: string, at: number, char: string): number | undefined => {
  const symbol = pattern[at]
  if (symbol === undefined) return undefined
  if (symbol === "?") return at + 1
  if (symbol === "\\") return pattern[at + 1] === char ? at + 2 : undefined
  if (symbol !== "[") return symbol === char ? at + 1 : undefined
  const negated = pattern[at + 1] === "^"
  let inside = false
  let p = at + (negated ? 2 : 1)
  for (let first = true; first || pattern[p] !== "]"; first = false) {
    if (p >= pattern.length) return undefined
    const low = pattern[p] ?? ""
    const high = pattern[p + 1] === "-" && pattern[p + 2] !== "]" ? (pattern[p + 2] ?? low) : low
    if (char >= low && char <= high) inside = true
    p += high === low && pattern[p + 1] !== "-" ? 1 : 3
  }
  return inside === negated ? undefined : p + 1
}
