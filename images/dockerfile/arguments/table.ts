import { fail } from "../error.ts"
import type { Variables } from "../text/variable.ts"

/** No kernel takes a larger variable; all of them together are no larger here, since every step has them. */
const MAX_TABLE_CHARACTERS = 128 * 1024
const MAX_TABLE_NAMES = 1000

/** Names and values of one kind of instruction, bounded; without a prototype, so that `constructor` is a name like another. */
export const createTable = (keyword: string, line: number, initial: Variables = {}) => {
  const table = Object.create(null) as Record<string, string>
  let [names, characters] = [0, 0]
  const set = (name: string, value: string, at: number) => {
    const earlier = table[name]
    if (earlier === undefined) names++
    characters += value.length - (earlier?.length ?? -name.length)
    if (names > MAX_TABLE_NAMES || characters > MAX_TABLE_CHARACTERS)
      fail(at, `${keyword} says more than ${MAX_TABLE_NAMES} names or ${MAX_TABLE_CHARACTERS} characters in all`)
    table[name] = value
  }
  for (const [name, value] of Object.entries(initial)) set(name, value, line)
  return { values: (): Variables => table, set }
}
