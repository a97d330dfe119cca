import { constants } from "node:fs"
import { open } from "node:fs/promises"
import { IMAGE_ROOT } from "./image-root.ts"
import { openPlace } from "./place.ts"

export interface User {
  readonly uid: number
  readonly gid: number
  readonly additionalGids: number[]
  readonly home: string
}

/** An image's files are its author's: a table of this size is a mistake or worse. */
const MAX_TABLE_BYTES = 1024 * 1024

/** The rows of a table; none when it isn't a file, or is too large. The application may be at work on it. */
const readTable = async (path: string, root: string): Promise<string[][]> => {
  await using place = await openPlace(path, { followLast: true, root }).catch(() => undefined)
  if (!place?.found?.stats.isFile()) return []
  await using file = await open(place.found.path, constants.O_RDONLY | constants.O_NONBLOCK)
  const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(MAX_TABLE_BYTES + 1) })
  if (bytesRead > MAX_TABLE_BYTES) return []
  const lines = buffer.toString("utf8", 0, bytesRead).split("\n")
  return lines.map((line) => line.split(":"))
}

const isId = (text: string) => /^\d{1,10}$/.test(text)

/** A Dockerfile's `user[:group]`, by name or id, looked up in the image as Docker does; throws on a name that is not there. */
export const findUser = async (text: string, root = IMAGE_ROOT): Promise<User> => {
  const [name = "0", group] = text === "" ? ["0"] : text.split(":")
  const users = await readTable("/etc/passwd", root)
  const groups = await readTable("/etc/group", root)
  const user = users.find((row) => row[0] === name) ?? (isId(name) ? users.find((row) => row[2] === name) : undefined)
  if (user === undefined && !isId(name))
    throw new Error(`unable to find user ${name}: no matching entries in passwd file`)
  const uid = Number(user?.[2] ?? name)
  const home = user?.[5] || (uid === 0 ? "/root" : "/")
  if (group !== undefined && group !== "") {
    const row = groups.find((candidate) => candidate[0] === group)
    if (row === undefined && !isId(group))
      throw new Error(`unable to find group ${group}: no matching entries in group file`)
    return { uid, gid: Number(row?.[2] ?? group), additionalGids: [], home }
  }
  const gid = Number(user?.[3] ?? 0)
  const member = user?.[0]
  const additionalGids = groups
    .filter((row) => member !== undefined && row[3]?.split(",").includes(member))
    .map((row) => Number(row[2]))
    .filter((id) => id !== gid)
  return { uid, gid, additionalGids, home }
}
