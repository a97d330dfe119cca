import { parseJsonPattern } from "./json.ts"
import { refusePattern } from "./refusal.ts"
import { parseTerms } from "./terms.ts"

/** Whether a line is wanted. */
export type Matches = (text: string) => boolean

/**
 * A filter pattern of CloudWatch Logs: terms, or a condition on JSON in braces. What we don't know is refused and never ignored:
 * an answer to another question would be taken for one to this.
 */
export const parseFilterPattern = (pattern: string): Matches => {
  const text = pattern.trim()
  if (text === "") return () => true
  if (text.startsWith("{")) return parseJsonPattern(text)
  if (text.startsWith("[")) throw refusePattern("Torpor does not match space-delimited fields ([a, b, ...])")
  return parseTerms(text)
}
