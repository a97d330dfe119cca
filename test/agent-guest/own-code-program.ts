/** A program in the place of the agent: says whose pages its code is in, while another runs the same program and when none does. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFile, stat } from "node:fs/promises"
import { findTwin, inPagesOf } from "../../images/agent/own-code.ts"

const [application = ""] = process.argv.slice(2)

/** The files that this process's code is of, by their inodes; but for libraries. */
const codeOf = async (): Promise<string[]> => {
  const programs = new Set<string>()
  for (const path of [process.execPath, application]) programs.add(String((await stat(path)).ino))
  const lines = (await readFile("/proc/self/maps", "utf8")).split("\n").map((line) => line.split(/ +/))
  const inodes = lines.flatMap(([, rights, , , inode = ""]) =>
    rights === "r-xp" && programs.has(inode) ? [inode] : [],
  )
  return [...new Set(inodes)]
}

const own = await codeOf()
const running = spawn(application, ["-e", "setInterval(() => {}, 1e6)"], { stdio: "ignore" })
await once(running, "spawn")
const twin = await findTwin()
if (twin === undefined) throw new Error("Nothing runs the same program")
let within: string[] = []
await inPagesOf(twin, async () => {
  within = await codeOf()
})
const after = await codeOf()
let isAnothers = false
await inPagesOf({ ...twin, inode: twin.inode + 1n }, async () => {
  isAnothers = true
})
running.kill()
await once(running, "exit")
const none = await findTwin()
const theirs = String((await stat(application)).ino)
console.log(JSON.stringify({ own, theirs, within, after, isAnothers, none: none ?? null }))
