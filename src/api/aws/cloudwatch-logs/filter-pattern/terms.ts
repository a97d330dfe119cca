import { refusePattern } from "./refusal.ts"

/** A sign, and a term in quotes or of letters, digits and underscores; or whatever else stands there. */
const TERM = /\s*(?:([-?]?)(?:"((?:[^"\\]|\\.)*)"|([\p{L}\p{N}_]+))(?=\s|$)|(\S+))/uy

/**
 * Terms: all of them are in the line, as they are written; none with `-` is; and of those with `?`, one. AWS ignores what has `?` beside
 * other terms; here that is refused.
 */
export const parseTerms = (pattern: string): ((text: string) => boolean) => {
  const wanted = { "": [] as string[], "-": [] as string[], "?": [] as string[] }
  TERM.lastIndex = 0
  for (let found = TERM.exec(pattern); found !== null; found = TERM.exec(pattern)) {
    const [, sign = "", quoted, plain, other] = found
    if (other !== undefined) throw refuse(other)
    const term = plain ?? quoted?.replaceAll(/\\(.)/gsu, "$1") ?? ""
    if (term === "") throw refusePattern("a term is empty")
    wanted[sign as "" | "-" | "?"].push(term)
  }
  const { "": all, "-": none, "?": any } = wanted
  if (any.length > 0 && all.length + none.length > 0) throw refusePattern("?terms cannot stand beside other terms")
  return (text) =>
    all.every((term) => text.includes(term)) &&
    !none.some((term) => text.includes(term)) &&
    (any.length === 0 || any.some((term) => text.includes(term)))
}

const refuse = (term: string) => {
  if (/^[-?]?%/.test(term)) return refusePattern("Torpor does not match regular expressions (%...%)")
  return refusePattern(
    `Invalid character(s) in term '${term}': what has others than letters, digits and _ belongs in quotes`,
  )
}
