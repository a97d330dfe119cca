import { SuspendMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import { once } from "node:events"
import { readFile } from "node:fs/promises"
import type { IncomingMessage } from "node:http"
import { request as send } from "node:https"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { WebSocket } from "ws"
import { readBody, writeBody } from "../fixtures/body.ts"
import { startTestDaemon, type TestDaemon, type TestVm } from "../fixtures/daemon.ts"
import { toGuestApp } from "../fixtures/guest-app.ts"
import { watchMemory } from "../fixtures/process-memory.ts"

/**
 * What an emulated guest's Node takes and gives in good time: measured under TCG were 10 MiB/s up and 5 to 10 down, so that a GiB each way
 * would be four minutes. It is twice what the daemon may grow, and that more than the 64 MiB of buffers after which V8 collects them
 * (measured on a busy machine: 57 to 71); that the edge carries a GiB is shown in test/proxy/memory.test.ts.
 */
const BYTES = 192 * 1024 * 1024
const MAX_GROWTH_MIB = 96

let daemon: TestDaemon
let vm: TestVm
beforeAll(async () => {
  daemon = await startTestDaemon()
  await daemon.build("bodies", await toGuestApp("bodies-app.ts"))
  vm = await daemon.run({ image: "bodies" })
  expect((await vm.get("/digest")).status).toBe(200)
})
afterAll(async () => {
  // Undefined when it never ran; its daemon must end all the same.
  ;(vm as TestVm | undefined)?.close()
  await daemon[Symbol.asyncDispose]()
})

const headers = () => ({ "x-aws-proxy-auth": vm.token })
/** A request through TLS and the edge into the guest, to be ended. */
const ask = (method: string, path: string) =>
  send(`https://${vm.name}${path}`, { ca: daemon.ca, method, headers: headers() })
const responseOf = async (request: ReturnType<typeof ask>) => {
  const [response] = (await once(request, "response")) as [IncomingMessage]
  expect(response.statusCode).toBe(200)
  return response
}
const daemonMemory = async () => watchMemory(Number(await readFile(join(daemon.directory, "daemon.pid"), "utf8")))

describe("Into and out of a guest", () => {
  test("goes a large body, byte for byte, and the daemon holds none of it", { timeout: 900_000 }, async () => {
    const memory = await daemonMemory()
    await memory.peakGrowthMiB()
    const up = ask("POST", "/up")
    const digest = await writeBody(up, BYTES)
    expect(JSON.parse(await text(await responseOf(up)))).toEqual({ bytes: BYTES, digest })
    expect(await memory.peakGrowthMiB()).toBeLessThan(MAX_GROWTH_MIB)

    const got = await readBody(await responseOf(ask("GET", `/down?bytes=${BYTES}`).end()))
    expect(got).toEqual({ bytes: BYTES, digest: (await vm.get("/digest")).body })
    expect(await memory.peakGrowthMiB()).toBeLessThan(MAX_GROWTH_MIB)
  })

  test("goes each event when it happens", async () => {
    const events = await responseOf(ask("GET", "/events").end())
    events.setEncoding("utf8")
    for (const said of ["one", "two", "three"]) {
      const event = once(events, "data")
      await vm.get(`/say?text=${said}`)
      // The next is not said before this one is here.
      expect(await event).toEqual([`data: ${said}\n\n`])
    }
    expect(events.complete).toBe(false)
    events.destroy()
  })

  test("go WebSocket messages, asked for or not", async () => {
    const socket = new WebSocket(`wss://${vm.name}/`, { ca: daemon.ca, headers: headers() })
    await once(socket, "open")
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
    const socket = new WebSocket(`wss://${vm.name}/`, { ca: daemon.ca, headers: headers() })
    await once(socket, "open")
    const ends = Promise.all([expect(text(events)).rejects.toThrow("aborted"), once(socket, "close")])
    await daemon.client.send(new SuspendMicrovmCommand({ microvmIdentifier: vm.id }))
    await daemon.untilState(vm.id, "SUSPENDED")
    await ends
    expect((await vm.get("/digest")).status).toBe(200)
  })
})
