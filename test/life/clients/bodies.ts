import { once } from "node:events"
import type { IncomingMessage } from "node:http"
import { request as send } from "node:https"
import { text } from "node:stream/consumers"
import { describe, expect, test } from "vitest"
import { WebSocket } from "ws"
import { readBody, writeBody } from "../../fixtures/body.ts"
import { ports } from "../../fixtures/clients-app/ports.ts"
import { headersTo, type Ground } from "./ground.ts"

/**
 * What an emulated guest's Node takes and gives in good time: measured under TCG were 10 MiB/s up and 5 to 10 down, so that a GiB each way
 * would be four minutes. It is twice what the daemon may grow, and that more than the 64 MiB of buffers after which V8 collects them
 * (measured on a busy machine: 57 to 71); that the edge carries a GiB is shown in test/proxy/memory.test.ts.
 */
const BYTES = 192 * 1024 * 1024
const MAX_GROWTH_MIB = 96

export const describeBodies = (ground: () => Ground): void => {
  const headers = () => headersTo(ground().vm, ports.bodies)
  /** A request through TLS and the edge into the guest, to be ended. */
  const ask = (method: string, path: string) =>
    send(`https://${ground().vm.name}${path}`, { ca: ground().ca, method, headers: headers() })
  const responseOf = async (request: ReturnType<typeof ask>) => {
    const [response] = (await once(request, "response")) as [IncomingMessage]
    expect(response.statusCode).toBe(200)
    return response
  }
  const get = async (path: string) => text(await responseOf(ask("GET", path).end()))
  const openSocket = async () => {
    const socket = new WebSocket(`wss://${ground().vm.name}/`, { ca: ground().ca, headers: headers() })
    await once(socket, "open")
    return socket
  }

  describe("Into and out of a guest", () => {
    test("goes a large body, byte for byte, and the daemon holds none of it", { timeout: 900_000 }, async () => {
      const memory = await ground().memory()
      /** At the second time V8 has grown as much as it likes. */
      const grown = async (carry: () => Promise<void>) => {
        let mebibytes = Infinity
        for (let time = 0; time < 2 && mebibytes >= MAX_GROWTH_MIB; time++) {
          await memory.peakGrowthMiB()
          await carry()
          mebibytes = await memory.peakGrowthMiB()
        }
        return mebibytes
      }
      const up = await grown(async () => {
        const request = ask("POST", "/up")
        const digest = await writeBody(request, BYTES)
        expect(JSON.parse(await text(await responseOf(request)))).toEqual({ bytes: BYTES, digest })
      })
      expect(up).toBeLessThan(MAX_GROWTH_MIB)
      const down = await grown(async () => {
        const got = await readBody(await responseOf(ask("GET", `/down?bytes=${BYTES}`).end()))
        expect(got).toEqual({ bytes: BYTES, digest: await get("/digest") })
      })
      expect(down).toBeLessThan(MAX_GROWTH_MIB)
    })

    test("goes each event when it happens", async () => {
      const events = await responseOf(ask("GET", "/events").end())
      events.setEncoding("utf8")
      for (const said of ["one", "two", "three"]) {
        const event = once(events, "data")
        await get(`/say?text=${said}`)
        // The next is not said before this one is here.
        expect(await event).toEqual([`data: ${said}\n\n`])
      }
      expect(events.complete).toBe(false)
      events.destroy()
    })

    test("go WebSocket messages, asked for or not", async () => {
      const socket = await openSocket()
      const bytes = Buffer.alloc(256 * 1024, "torpor")
      const echo = once(socket, "message")
      socket.send(bytes)
      expect(await echo).toEqual([bytes, true])
      const said: string[] = []
      const all = new Promise<void>((resolve) =>
        socket.on("message", (data: Buffer) => {
          if (said.push(data.toString()) === 3) resolve()
        }),
      )
      socket.send("3")
      await all
      expect(said).toEqual(["message 1", "message 2", "message 3"])
      socket.close(4000)
      expect((await once(socket, "close"))[0]).toBe(4000)
    })

    test("goes nothing once it is put to sleep: streams and WebSockets end, and a new request wakes it", async () => {
      const events = await responseOf(ask("GET", "/events").end())
      const socket = await openSocket()
      const ends = Promise.all([expect(text(events)).rejects.toThrow("aborted"), once(socket, "close")])
      await ground().sleep()
      await ground().untilAsleep()
      await ends
      await responseOf(ask("GET", "/digest").end())
    })
  })
}
