import { createHash } from "node:crypto"
import { createServer, type Server } from "node:http"
import { buffer } from "node:stream/consumers"
import { setTimeout as sleep } from "node:timers/promises"

export interface Witness {
  readonly server: Server
  /** How often each request came, by the id in its path. */
  readonly seen: Readonly<Record<string, number>>
}

/** An application that remembers every request it got: of `/<way>/<id>?ms=…&pieces=…` it counts the id, and answers in one of three ways. */
export const createWitness = (): Witness => {
  const seen: Record<string, number> = Object.create(null)
  const server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://guest")
    const [, way, id = ""] = pathname.split("/")
    if (way === "seen") return response.end(JSON.stringify(seen))
    seen[id] = (seen[id] ?? 0) + 1
    request.on("error", () => {})
    response.on("error", () => {})
    const ms = Number(searchParams.get("ms"))
    if (way === "take") {
      const body = await buffer(request).catch(() => undefined)
      return response.end(body && `${id} ${createHash("sha1").update(body).digest("hex")}`)
    }
    const pieces = way === "stream" ? Number(searchParams.get("pieces")) : 1
    for (let piece = 1; piece <= pieces; piece++) {
      await sleep(ms)
      response.write(`${id} ${piece}\n`)
    }
    return response.end()
  })
  return { server, seen }
}
