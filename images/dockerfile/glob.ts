/**
 * COPY's globs: Go's path.Match. `*` and `?` stop at a slash, `[a-z]` and `[^a]` are sets, a backslash escapes, in sets too.
 * The work is bounded by pattern times name, whatever a stranger writes: no regular expression is made of it.
 */
export interface GlobPart {
  /** What one comparison with a name of this many characters may take. */
  cost(nameLength: number): number
  matches(name: string): boolean
}

type Token =
  | { readonly kind: "star" | "any" }
  | { readonly kind: "char"; readonly char: string }
  | { readonly kind: "set"; readonly negated: boolean; readonly ranges: readonly (readonly [string, string])[] }

/** Whether a pattern is more than a path. */
export const isGlob = (pattern: string) => /[*?[\\]/.test(pattern)

/** A pattern between two slashes; `undefined` when Go calls its syntax bad. */
export const parseGlobPart = (pattern: string): GlobPart | undefined => {
  const tokens = toTokens(Array.from(pattern))
  if (tokens === undefined) return undefined
  return {
    cost: (nameLength) => tokens.length * (tokens.some(({ kind }) => kind === "star") ? nameLength + 1 : 1),
    matches: (name) => matchesTokens(tokens, Array.from(name)),
  }
}

const toTokens = (chars: readonly string[]): Token[] | undefined => {
  const tokens: Token[] = []
  for (let at = 0; at < chars.length; at++) {
    const char = chars[at] ?? ""
    if (char === "*") tokens.push({ kind: "star" })
    else if (char === "?") tokens.push({ kind: "any" })
    else if (char === "[") {
      const set = setAt(chars, at + 1)
      if (set === undefined) return undefined
      tokens.push(set.token)
      at = set.end
    } else {
      const literal = char === "\\" ? chars[++at] : char
      if (literal === undefined) return undefined
      tokens.push({ kind: "char", char: literal })
    }
  }
  return tokens
}

const setAt = (chars: readonly string[], from: number): { token: Token; end: number } | undefined => {
  const negated = chars[from] === "^"
  let at = negated ? from + 1 : from
  const ranges: (readonly [string, string])[] = []
  const one = (): string | undefined => {
    const char = chars[at++]
    if (char === "-" || char === "]") return undefined
    return char === "\\" ? chars[at++] : char
  }
  while (chars[at] !== "]" || ranges.length === 0) {
    const low = one()
    if (low === undefined) return undefined
    let high: string | undefined = low
    if (chars[at] === "-") {
      at++
      high = one()
    }
    if (high === undefined) return undefined
    ranges.push([low, high])
  }
  return { token: { kind: "set", negated, ranges }, end: at }
}

const matchesTokens = (tokens: readonly Token[], name: readonly string[]): boolean =>
  matchesInOrder(tokens, name, ({ kind }) => kind === "star", matchesOne)

/** Whether each of a pattern's tokens matches one item, in order, and each star any number of them. The work is pattern times items. */
export const matchesInOrder = <PatternToken, Item>(
  pattern: readonly PatternToken[],
  items: readonly Item[],
  isStar: (token: PatternToken) => boolean,
  matchesItem: (token: PatternToken, item: Item) => boolean,
): boolean => {
  let [p, i] = [0, 0]
  /** Where to go on if what follows the last star doesn't match: one item further. */
  let star: { p: number; i: number } | undefined
  while (i < items.length) {
    const token = pattern[p]
    if (token !== undefined && isStar(token)) star = { p: ++p, i }
    else if (token !== undefined && matchesItem(token, items[i] as Item)) {
      p++
      i++
    } else if (star !== undefined) {
      p = star.p
      i = ++star.i
    } else return false
  }
  return pattern.slice(p).every(isStar)
}

const matchesOne = (token: Token, char: string): boolean => {
  if (token.kind === "char") return token.char === char
  if (token.kind !== "set") return true
  return token.ranges.some(([low, high]) => isBetween(char, low, high)) !== token.negated
}

const isBetween = (char: string, low: string, high: string) => {
  const code = (text: string) => text.codePointAt(0) ?? 0
  return code(low) <= code(char) && code(char) <= code(high)
}
