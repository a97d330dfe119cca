import { randomUUID } from "node:crypto"
import { readFile, rename, writeFile } from "node:fs/promises"
import { z } from "zod"

const Kept = z.object({ about: z.string(), fact: z.string() })

/**
 * What `find` says, kept in a file for as long as `about` is the same: asking a program takes a start longer than reading what it said.
 * A file that is missing or malformed is written anew.
 */
export const keptFact = async (file: string, about: string, find: () => Promise<string>): Promise<string> => {
  const kept = await read(file)
  if (kept?.about === about) return kept.fact
  const fact = await find()
  // Another daemon of the same cache may do the same.
  const fresh = `${file}.${randomUUID()}`
  await writeFile(fresh, JSON.stringify({ about, fact }))
  await rename(fresh, file)
  return fact
}

const read = async (file: string) => {
  try {
    return Kept.parse(JSON.parse(await readFile(file, "utf8")))
  } catch {
    return undefined
  }
}
