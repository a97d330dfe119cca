/**
 * The patterns of `${x#…}`, `${x%…}` and `${x/…/…}`: `*` is any text, `?` any character, and an escaped character is itself. No regular
 * expression is made of a stranger's pattern: each comparison is paid for.
 */
import type { Budget } from "./budget.ts"

const ANY_TEXT = Symbol("*")
const ANY_CHARACTER = Symbol("?")
type Token = string | typeof ANY_TEXT | typeof ANY_CHARACTER

export const parsePattern = (text: string, escape: string): Token[] => {
  const tokens: Token[] = []
  const characters = Array.from(text)
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at] ?? ""
    // Two stars are one: every one of them would be a way of its own.
    if (character === "*") {
      if (tokens.at(-1) !== ANY_TEXT) tokens.push(ANY_TEXT)
    } else if (character === "?") tokens.push(ANY_CHARACTER)
    else if (character === escape) tokens.push(characters[++at] ?? escape)
    else tokens.push(character)
  }
  return tokens
}

/** The value without the shortest, or longest, beginning that matches. */
export const trimStart = (value: string, pattern: readonly Token[], longest: boolean, budget: Budget): string => {
  const characters = Array.from(value)
  return characters.slice(matchAt(characters, 0, pattern, longest, budget) ?? 0).join("")
}

/** The value without the shortest, or longest, end that matches. */
export const trimEnd = (value: string, pattern: readonly Token[], longest: boolean, budget: Budget): string => {
  const characters = Array.from(value).toReversed()
  const end = matchAt(characters, 0, pattern.toReversed(), longest, budget) ?? 0
  return characters.slice(end).toReversed().join("")
}

/** The value with its first match replaced, or all of them; each as long as can be. An empty pattern matches nothing. */
export const replace = (
  value: string,
  pattern: readonly Token[],
  replacement: string,
  all: boolean,
  budget: Budget,
): string => {
  if (pattern.length === 0) return value
  const characters = Array.from(value)
  const pieces: string[] = []
  for (let at = 0; at < characters.length;) {
    const end = matchAt(characters, at, pattern, true, budget)
    if (end === undefined || end === at) pieces.push(characters[at++] ?? "")
    else {
      budget.grow(replacement.length)
      pieces.push(replacement)
      at = end
      if (!all) return pieces.concat(characters.slice(at)).join("")
    }
  }
  return pieces.join("")
}

/** Where a match that begins there ends; all the ways through the pattern are followed at once. */
const matchAt = (
  characters: readonly string[],
  from: number,
  pattern: readonly Token[],
  longest: boolean,
  budget: Budget,
): number | undefined => {
  let places = reached([0], pattern)
  let found: number | undefined
  for (let at = from; ; at++) {
    budget.work(places.length + 1)
    if (places.at(-1) === pattern.length) {
      found = at
      if (!longest) return found
    }
    const character = characters[at]
    if (character === undefined || places.length === 0) return found
    const next: number[] = []
    for (const place of places) {
      const token = pattern[place]
      if (token === ANY_TEXT) add(next, place)
      else if (token === ANY_CHARACTER || token === character) add(next, place + 1)
    }
    places = reached(next, pattern)
  }
}

/** Places in a pattern, ascending, and those behind a star that may match nothing. */
const reached = (places: readonly number[], pattern: readonly Token[]): number[] => {
  const all: number[] = []
  for (const start of places) {
    let place = start
    add(all, place)
    if (pattern[place] === ANY_TEXT) add(all, ++place)
  }
  return all
}

/** They come in ascending order: what was added is at the end, or further. */
const add = (places: number[], place: number) => {
  if (place > (places.at(-1) ?? -1)) places.push(place)
}
