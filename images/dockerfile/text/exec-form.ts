import { DockerfileError } from "../error.ts"

/** A JSON array of strings, or `undefined`: then the instruction has its shell form, as Docker decides. */
export const toExecForm = (text: string, line: number): string[] | undefined => {
  if (!text.startsWith("[")) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!Array.isArray(value)) return undefined
  return value.map((part: unknown) => {
    if (typeof part !== "string")
      throw new DockerfileError(line, "when using JSON array syntax, arrays must be comprised of strings only")
    if (part.includes("\0")) throw new DockerfileError(line, "an argument cannot hold a NUL character")
    return part.toWellFormed()
  })
}
