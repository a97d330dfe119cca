import { access } from "node:fs/promises"
import { delimiter, join } from "node:path"

/** What only this bench runs, by the Debian package that brings it: no user of Torpor needs them. */
const NEEDED = {
  nginx: "nginx-light",
  wrk: "wrk",
  h2load: "nghttp2-client",
  curl: "curl",
  taskset: "util-linux",
} as const

/** Throws when a program is missing, with the line that installs it. */
export const checkPrograms = async (): Promise<void> => {
  const directories = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin"]
  const missing = new Set<string>()
  for (const [program, name] of Object.entries(NEEDED)) {
    const found = await Promise.any(directories.map((directory) => access(join(directory, program)))).then(
      () => true,
      () => false,
    )
    if (!found) missing.add(name)
  }
  if (missing.size === 0) return
  const names = [...missing].join(" ")
  throw new Error(
    `The bench of the edge needs more than set-up installs: apt-get install --no-install-recommends ${names}`,
  )
}
