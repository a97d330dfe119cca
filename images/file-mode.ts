/** What a file's mode becomes of the one it had: both in their lower twelve bits. */
export type FileMode = (mode: number, isDirectory: boolean) => number

const MAX_CLAUSES = 20
/** Who, and what of them changes: `ug` and `+x-w`. */
const CLAUSE = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/
const CHANGE = /([-+=])([rwxXst]*|[ugo])(?=[-+=]|$)/g
const SHIFTS: Readonly<Record<string, number>> = { u: 6, g: 3, o: 0 }
const SPECIAL: Readonly<Record<string, number>> = { u: 0o4000, g: 0o2000 }

/** A mode as chmod takes it, octal (`0644`) or in letters (`u=rwX,go-w`, `g=u`); `undefined` when it is none. Letters for nobody are for all. */
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
  const [, written = "", changes] = CLAUSE.exec(text) ?? []
  if (changes === undefined) return undefined
  const who = written === "" || written.includes("a") ? ["u", "g", "o"] : [...new Set(written)]
  return (mode, isDirectory) => {
    let now = mode
    for (const [, operator, letters = ""] of changes.matchAll(CHANGE)) {
      const bits = bitsOf(letters, who, now, isDirectory)
      if (operator === "+") now |= bits
      else if (operator === "-") now &= ~bits
      else now = (now & ~clearedFor(who, isDirectory)) | bits
    }
    return now
  }
}

const bitsOf = (letters: string, who: readonly string[], now: number, isDirectory: boolean): number => {
  const copied = SHIFTS[letters]
  const executes = letters.includes("x") || (letters.includes("X") && (isDirectory || (now & 0o111) !== 0))
  const triple =
    copied === undefined
      ? (letters.includes("r") ? 4 : 0) | (letters.includes("w") ? 2 : 0) | (executes ? 1 : 0)
      : (now >> copied) & 7
  return who.reduce(
    (bits, one) => bits | (triple << (SHIFTS[one] ?? 0)) | (letters.includes("s") ? (SPECIAL[one] ?? 0) : 0),
    letters.includes("t") ? 0o1000 : 0,
  )
}

/** As chmod does it, `=` leaves a directory's own setuid and setgid alone. */
const clearedFor = (who: readonly string[], isDirectory: boolean): number =>
  who.reduce((bits, one) => bits | (7 << (SHIFTS[one] ?? 0)) | (isDirectory ? 0 : (SPECIAL[one] ?? 0)), 0)
