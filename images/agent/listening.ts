import { readFile } from "node:fs/promises"

const LISTEN = "0A"

/**
 * Resolves when something accepts connections on a TCP port, on any address, loopback too. The kernel has no event for that:
 * looking is cheap, and is only done while an image is built.
 */
export const untilListening = async (port: number, signal: AbortSignal): Promise<void> => {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`
  while (!(await isListening(suffix))) {
    signal.throwIfAborted()
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

const isListening = async (suffix: string): Promise<boolean> => {
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    const text = await readFile(table, "utf8").catch(() => "")
    for (const line of text.split("\n")) {
      const [, local, , state] = line.trim().split(/\s+/)
      if (state === LISTEN && local?.endsWith(suffix)) return true
    }
  }
  return false
}
