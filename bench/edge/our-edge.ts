import { Registry } from "prom-client"
import { createEdgeMetrics } from "../../proxy/metrics.ts"
import type { VmTarget } from "../../proxy/route.ts"
import { openEdge } from "../../proxy/server.ts"
import { parseConfig } from "../../src/config.ts"
import { createLog } from "../../src/log.ts"
import { openTokenKeys } from "../../src/tokens/keys.ts"
import { createTokens } from "../../src/tokens/tokens.ts"
import { createMemoryKeyStore } from "../../test/tokens/memory-key-store.ts"
import type { Entrance, Ports } from "./contestant.ts"

/** More than any bench opens: the edge's limits are looked at with every request, and none is reached. */
const ENOUGH = 100_000

/** The edge as the daemon opens it, with real keys, tokens, limits and metrics; its one VM, always awake, is this machine. */
export const openOurEdge = async (
  tls: { readonly certificate: string; readonly key: string },
  { app, echo }: Ports,
) => {
  const tokens = createTokens(await openTokenKeys(createMemoryKeyStore()))
  const vmId = crypto.randomUUID()
  const target: VmTarget = {
    kind: "vm",
    isOpen: true,
    vmId,
    address: "127.0.0.1",
    awake: () => Promise.resolve("127.0.0.1"),
    activity: { open: 0, endless: 0, lastAt: 0 },
  }
  const host = `${vmId}.vm.localhost`
  const config = parseConfig({})
  const edge = await openEdge({
    router: { find: (name) => (name === host ? target : undefined) },
    tokens,
    ...tls,
    ...config.edge,
    maxRequests: ENOUGH,
    maxRequestsPerVm: ENOUGH,
    maxRequestsPerToken: ENOUGH,
    maxConnections: ENOUGH,
    maxConnectionsPerVm: ENOUGH,
    maxConnectionsPerToken: ENOUGH,
    address: "127.0.0.1",
    port: 0,
    metrics: createEdgeMetrics(new Registry()),
    log: createLog("error"),
  })
  const ports = [app, echo].map((port) => ({ from: port, to: port }))
  const token = await tokens.mint({ vmId, ports, expirationSeconds: 3600 })
  const entrance: Entrance = {
    port: edge.port,
    host,
    headers: { "X-aws-proxy-auth": token, "X-aws-proxy-port": String(app) },
  }
  return { entrance, close: () => edge.close(0) }
}
