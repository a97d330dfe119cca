import { BlockList, isIPv6 } from "node:net"
import type { Context } from "hono"
import type { Registry } from "prom-client"
import { openSignedCall, type ServiceContext } from "../aws/json-service.ts"
import { microvmsDialect } from "../aws/microvms/service.ts"
import type { ApiEnv } from "../aws/request-body.ts"
import { toErrorAnswer } from "../aws/wire.ts"
import { refuseOthers } from "./operator.ts"

const LOOPBACK = ["127.0.0.0/8"]

/**
 * `GET /metrics`, for Prometheus. It names the MicroVMs of every account: it is for who asks from this machine's loopback or one of the
 * `readers`, which are IPv4 ranges, and for whoever else signs as the operator.
 */
export const createMetricsRoute = (metrics: Registry, readers: readonly string[], context: ServiceContext) => {
  const open = new BlockList()
  open.addAddress("::1", "ipv6")
  for (const range of [...LOOPBACK, ...readers]) {
    const [address = "", bits = "32"] = range.split("/")
    open.addSubnet(address, Number(bits))
  }
  const isOpenTo = (peer: string | undefined) => peer !== undefined && open.check(peer, isIPv6(peer) ? "ipv6" : "ipv4")

  return async (c: Context<ApiEnv>, requestId: string): Promise<Response> => {
    try {
      if (!isOpenTo(c.env?.incoming?.socket.remoteAddress)) {
        const { caller } = await openSignedCall(c, context, ["torpor", "lambda"], requestId)
        refuseOthers(caller, "GetMetrics")
      }
      return c.body(await metrics.metrics(), 200, { "content-type": metrics.contentType })
    } catch (error) {
      return toErrorAnswer(error, microvmsDialect, requestId, context.log)
    }
  }
}
