/** What a file's mode becomes of the one it had: both in their lower twelve bits. */
export type FileMode = (mode: number, isDirectory: boolean) => number

const MAX_CLAUSES = 20
const SHIFTS = { u: 6, g: 3, o: 0 } as const

/** A mode as chmod takes it, octal (`0644`) or in letters (`u=rwX,go-w`); `undefined` when it is none. */
export const parseFileMode = (text: string): FileMode | undefined => {
  if (/^[0-7]{1,5}$/.test(text)) {
    const mode = Number.parseInt(text, 8)
    return mode <= 0o7777 ? () => mode : undefined
  }
  const clauses = text.split(",")
  if (clauses.length > MAX_CLAUSES) return undefined
  const changes = clauses.map(parseClause)
  if (changes.includes(undefined)) return undefined
  return (mode, isDirectory) => changes.reduce((sum, change) => change?.(sum, isDirectory) ?? sum, mode)
}

const parseClause = (text: string): FileMode | undefined => {
  const [, who = "", operator, letters = ""] = /^([ugoa]*)([-+=])([rwxXst]*)$/.exec(text) ?? []
  if (operator === undefined) return undefined
  const of = who === "" || who.includes("a") ? "ugo" : who
  return (mode, isDirectory) => {
    const executes = letters.includes("x") || (letters.includes("X") && (isDirectory || (mode & 0o111) !== 0))
    const bits = (letters.includes("r") ? 4 : 0) | (letters.includes("w") ? 2 : 0) | (executes ? 1 : 0)
    let [touched, set] = [0, 0]
    for (const one of ["u", "g", "o"] as const) {
      if (!of.includes(one)) continue
      touched |= 7 << SHIFTS[one]
      set |= bits << SHIFTS[one]
    }
    if (letters.includes("s")) set |= (of.includes("u") ? 0o4000 : 0) | (of.includes("g") ? 0o2000 : 0)
    if (letters.includes("t")) set |= 0o1000
    if (operator === "+") return mode | set
    if (operator === "-") return mode & ~set
    return (mode & ~touched) | set
  }
}
