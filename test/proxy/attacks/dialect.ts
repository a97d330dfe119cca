/** How a careless program reads HTTP/1.1: every attack by smuggling lives of two that read the same bytes otherwise. */

export interface Dialect {
  /** What says how long a body is when both do. */
  readonly prefers: "length" | "chunks"
  /** Where a line ends. */
  readonly lineEnd: RegExp
  /** A field's name, as it is looked up. */
  readonly nameOf: (name: string) => string
  readonly isChunked: (coding: string) => boolean
  readonly lengthOf: (values: readonly string[]) => number
  readonly chunkSizeOf: (line: string) => number
  /** Whether a line that begins with a blank belongs to the one before. */
  readonly folds: boolean
}

export const PLAIN: Dialect = {
  prefers: "length",
  lineEnd: /\r\n/,
  nameOf: (name) => name.toLowerCase(),
  isChunked: (coding) => coding.toLowerCase() === "chunked",
  lengthOf: ([first = "0"]) => Number.parseInt(first, 10),
  chunkSizeOf: (line) => Number.parseInt(line, 16),
  folds: true,
}

export interface Message {
  /** The request's first line. */
  readonly line: string
  /** As they came. */
  readonly bytes: string
  readonly body: string
}

/** The first message of some bytes, once they hold all of it. */
export const readMessage = (bytes: string, dialect: Dialect): Message | undefined => {
  let at = 0
  const readLine = (): string | undefined => {
    const end = dialect.lineEnd.exec(bytes.slice(at))
    if (end === null) return undefined
    const line = bytes.slice(at, at + end.index)
    at += end.index + end[0].length
    return line
  }
  const lines: string[] = []
  for (;;) {
    const line = readLine()
    if (line === undefined) return undefined
    if (line === "" && lines.length > 0) break
    if (dialect.folds && /^[ \t]/.test(line)) lines.push(`${lines.pop()}${line}`)
    else if (line !== "") lines.push(line)
  }
  const valuesOf = (name: string) =>
    lines.flatMap((line) => {
      const colon = line.indexOf(":")
      return dialect.nameOf(line.slice(0, colon)) === name ? [line.slice(colon + 1).replace(/^ | $/g, "")] : []
    })
  const [lengths, codings] = [valuesOf("content-length"), valuesOf("transfer-encoding")]
  let body = ""
  const take = (length: number): boolean => {
    if (bytes.length < at + length) return false
    body += bytes.slice(at, at + length)
    at += length
    return true
  }
  if (codings.some((coding) => dialect.isChunked(coding)) && (dialect.prefers === "chunks" || lengths.length === 0)) {
    for (;;) {
      const line = readLine()
      if (line === undefined) return undefined
      const size = dialect.chunkSizeOf(line)
      if (size === 0) break
      if (!take(size) || readLine() === undefined) return undefined
    }
    for (let trailer = readLine(); trailer !== ""; trailer = readLine()) if (trailer === undefined) return undefined
  } else if (!take(lengths.length === 0 ? 0 : dialect.lengthOf(lengths))) return undefined
  return { line: lines[0] ?? "", bytes: bytes.slice(0, at), body }
}
