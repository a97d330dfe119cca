import { spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { createServer, type IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, test } from "vitest"
import { fetchUid, openRegistry } from "../../images/registry/open-registry.ts"

test("A daemon that is killed takes its fetch with it, and the next one removes the rest", async () => {
  const silent = createServer(() => {}).listen(0, "127.0.0.1")
  await once(silent, "listening")
  const host = `127.0.0.1:${(silent.address() as AddressInfo).port}`
  const cacheDirectory = await mkdtemp(join(tmpdir(), "torpor-killed-"))
  const hostId = randomUUID()
  const options = {
    hostId,
    cacheDirectory,
    uid: fetchUid(600_000, hostId),
    registries: { [host]: { insecure: true, mirrors: [] } },
    maxBytes: 1024,
    maxCacheBytes: 1024,
    timeoutMs: 600_000,
  }
  const module = new URL("../../images/registry/open-registry.ts", import.meta.url).href
  const code = `
    import { openRegistry } from ${JSON.stringify(module)}
    const registry = await openRegistry(${JSON.stringify(options)})
    await registry.resolve(${JSON.stringify(`${host}/x`)}, new AbortController().signal)`
  const daemon = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: "inherit" })
  try {
    const [request] = (await once(silent, "request")) as [IncomingMessage]
    const gone = once(request.socket, "close")
    daemon.kill("SIGKILL")
    // Nobody else closes it: this end never answers.
    await gone
    await using registry = await openRegistry(options)
    expect((await registry.usage()).bytes).toBe(0)
  } finally {
    daemon.kill("SIGKILL")
    silent.closeAllConnections()
    silent.close()
    await rm(cacheDirectory, { recursive: true })
  }
})
