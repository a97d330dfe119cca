/**
 * Conditions on a line that is JSON: `{ ($.a.b = "x*" && $.n >= 5) || $.list[0] IS NULL }`.
 *
 *     either     = both ("||" both)*
 *     both       = one ("&&" one)*
 *     one        = "(" either ")" | selector test
 *     selector   = "$" ("." name | "[" index "]")+
 *     test       = ("=" | "!=") value | ("<" | "<=" | ">" | ">=") number | "IS" ("TRUE" | "FALSE" | "NULL") | "NOT" "EXISTS"
 *     value      = number | word | "text", in which * stands for anything
 *
 * A member that isn't there satisfies NOT EXISTS and nothing else.
 */
import { parseGlob } from "./glob.ts"
import { refusePattern } from "./refusal.ts"

type Condition = (json: unknown) => boolean
type Test = (value: unknown) => boolean

/** Quoted text, an operator or bracket, or a word with all that may be in a value. */
const TOKEN = /\s*("(?:[^"\\]|\\.)*"|&&|\|\||!=|<=|>=|[=<>(){}]|[^\s"=<>(){}!&|]+)/uy
const SELECTOR = /^\$(?:\.[\p{L}\p{N}_-]+|\[\d{1,9}\])+$/u
const NUMBER = /^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/i

/** The condition that a pattern in braces is. Throws what is wrong with it. */
export const parseJsonPattern = (pattern: string): ((text: string) => boolean) => {
  const tokens = tokensOf(pattern)
  let at = 0
  const take = (expected?: string): string => {
    const token = tokens[at++]
    if (token === undefined || (expected !== undefined && token !== expected))
      throw refusePattern(`${token === undefined ? "its end" : `'${token}'`} where ${expected ?? "more"} was expected`)
    return token
  }
  const joined = (operator: string, next: () => Condition, join: (all: Condition[]) => Condition): Condition => {
    const all = [next()]
    while (tokens[at] === operator) {
      at++
      all.push(next())
    }
    return all.length === 1 ? all[0]! : join(all)
  }
  const either = (): Condition => joined("||", both, (all) => (json) => all.some((one) => one(json)))
  const both = (): Condition => joined("&&", one, (all) => (json) => all.every((each) => each(json)))
  const one = (): Condition => {
    if (tokens[at] === "(") {
      at++
      const inner = either()
      take(")")
      return inner
    }
    const find = parseSelector(take())
    const test = parseTest(take)
    return (json) => test(find(json))
  }

  take("{")
  const condition = either()
  take("}")
  if (at < tokens.length) throw refusePattern(`'${tokens[at]}' behind its end`)
  return (text) => {
    const json = parseObject(text)
    return json !== undefined && condition(json)
  }
}

const tokensOf = (pattern: string): string[] => {
  const tokens: string[] = []
  TOKEN.lastIndex = 0
  for (let end = 0; end < pattern.length; end = TOKEN.lastIndex) {
    const found = TOKEN.exec(pattern)?.[1]
    if (found === undefined) throw refusePattern(`'${pattern.slice(end).trim().slice(0, 20)}' is not understood`)
    tokens.push(found)
  }
  return tokens
}

/** `undefined` stands for a member that doesn't exist. */
const parseSelector = (selector: string): ((json: unknown) => unknown) => {
  if (!SELECTOR.test(selector))
    throw refusePattern(`'${selector}' is no selector that Torpor knows: it is like $.name, $.outer.inner or $.list[0]`)
  const steps = [...selector.matchAll(/[^$.[\]]+/gu)].map(([step]) => step)
  return (json) => {
    let value = json
    for (const step of steps) {
      if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined
      value = (value as Record<string, unknown>)[step]
    }
    return value
  }
}

const parseTest = (take: (expected?: string) => string): Test => {
  const operator = take()
  switch (operator.toUpperCase()) {
    case "IS":
      return parseIs(take())
    case "NOT":
      if (take().toUpperCase() !== "EXISTS") throw refusePattern("NOT is followed by EXISTS")
      return (value) => value === undefined
    case "=":
      return parseEqual(take())
    case "!=": {
      const equals = parseEqual(take())
      return (value) => value !== undefined && !equals(value)
    }
    case "<":
    case "<=":
    case ">":
    case ">=":
      return parseOrder(operator, take())
    default:
      throw refusePattern(`'${operator}' is no comparison`)
  }
}

const parseIs = (word: string): Test => {
  const values = new Map<string, unknown>([
    ["TRUE", true],
    ["FALSE", false],
    ["NULL", null],
  ])
  const wanted = values.get(word.toUpperCase())
  if (wanted === undefined) throw refusePattern(`IS is followed by TRUE, FALSE or NULL, and not by '${word}'`)
  return (value) => value === wanted
}

const parseEqual = (word: string): Test => {
  if (word.startsWith("%")) throw refusePattern("Torpor does not match regular expressions (%...%)")
  if (/^[=<>(){}&|]/.test(word) || word === "!=") throw refusePattern(`'${word}' where a value was expected`)
  if (NUMBER.test(word)) return (value) => value === Number(word)
  const isQuoted = word.startsWith('"')
  const glob = parseGlob(isQuoted ? word.slice(1, -1).replaceAll(/\\(["\\])/g, "$1") : word)
  // 4* without quotes is any number that begins with a 4, too.
  return (value) => (typeof value === "string" || (!isQuoted && typeof value === "number")) && glob(String(value))
}

const parseOrder = (operator: string, word: string): Test => {
  if (!NUMBER.test(word)) throw refusePattern(`${operator} is followed by a number, and not by '${word}'`)
  const bound = Number(word)
  const takesEqual = operator.endsWith("=")
  return (value) =>
    typeof value === "number" &&
    ((takesEqual && value === bound) || (operator.startsWith("<") ? value < bound : value > bound))
}

const parseObject = (text: string): unknown => {
  if (!/^\s*[[{]/.test(text)) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
