import { once } from "node:events"
import { createServer, type ClientRequest, type IncomingMessage, type ServerResponse } from "node:http"
import { request as send } from "node:https"
import { text } from "node:stream/consumers"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { readBody, writeBody } from "../fixtures/body.ts"
import { startEdgeProcess, type EdgeProcess } from "./edge-process.ts"
import { connectHttp2 } from "./protocols/http2-client.ts"
import { listen } from "./test-edge.ts"

const MIB = 1024 * 1024
/** Far below a body, and more than the 64 MiB of buffers after which V8 collects them; measured were 30 MiB of the first, 17 MiB of the second. */
const MAX_GROWTH_MIB = 96
const MAX_IN_FLIGHT = 64 * MIB
/** Of HTTP/2, over one connection: a stream that stayed would be more than this each, what is compiled meanwhile is less. */
const [REQUESTS, MAX_KEPT_MIB] = [2000, 2]

let edge: EdgeProcess
beforeAll(async () => {
  edge = await startEdgeProcess()
  // Code and pools that the first bytes need.
  await using app = await openApp(async (request) => String((await readBody(request)).bytes))
  const request = ask(app.port, "POST")
  await writeBody(request, 64 * MIB)
  expect(await answerOf(request)).toBe(String(64 * MIB))
})
afterAll(() => edge?.[Symbol.asyncDispose]())

/** An application that answers with text, or writes its answer itself. */
const openApp = async (answer: (request: IncomingMessage, response: ServerResponse) => Promise<string | undefined>) => {
  const server = createServer(async (request, response) => {
    const said = await answer(request, response)
    if (said !== undefined) response.end(said)
  })
  const port = await listen(server)
  return {
    port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, "close")
    },
  }
}
/** A request through the edge, to be ended. */
const ask = (port: number, method: string) =>
  send({
    host: "127.0.0.1",
    port: edge.port,
    servername: edge.name,
    ca: edge.ca,
    method,
    headers: { host: edge.name, "x-aws-proxy-auth": edge.token, "x-aws-proxy-port": port },
  })
const responseOf = async (request: ClientRequest) => {
  const [response] = (await once(request, "response")) as [IncomingMessage]
  expect(response.statusCode).toBe(200)
  return response
}
const answerOf = async (request: ClientRequest) => text(await responseOf(request))

describe("The edge's memory stays as it is", () => {
  test("while a GiB goes up, which arrives byte for byte", { timeout: 300_000 }, async () => {
    await using app = await openApp(async (request) => JSON.stringify(await readBody(request)))
    await edge.peakGrowthMiB()
    const request = ask(app.port, "POST")
    const digest = await writeBody(request, 1024 * MIB)
    expect(JSON.parse(await answerOf(request))).toEqual({ bytes: 1024 * MIB, digest })
    expect(await edge.peakGrowthMiB()).toBeLessThan(MAX_GROWTH_MIB)
  })

  test("while a GiB comes down, which arrives byte for byte", { timeout: 300_000 }, async () => {
    const sent = Promise.withResolvers<string>()
    await using app = await openApp(async (_, response) => {
      sent.resolve(await writeBody(response, 1024 * MIB))
    })
    await edge.peakGrowthMiB()
    const got = await readBody(await responseOf(ask(app.port, "GET").end()))
    expect(got).toEqual({ bytes: 1024 * MIB, digest: await sent.promise })
    expect(await edge.peakGrowthMiB()).toBeLessThan(MAX_GROWTH_MIB)
  })

  test("while an application reads slowly: its client is held back", async () => {
    const inFlight = { read: 0, most: 0 }
    // Its client writes whenever it may; it reads once in eight turns of the same event loop.
    await using app = await openApp(async (request) =>
      JSON.stringify(await readBody(request, { turns: 8, onRead: (bytes) => void (inFlight.read = bytes) })),
    )
    await edge.peakGrowthMiB()
    const request = ask(app.port, "POST")
    const digest = await writeBody(request, 256 * MIB, (bytes) => {
      inFlight.most = Math.max(inFlight.most, bytes - inFlight.read)
    })
    expect(JSON.parse(await answerOf(request))).toEqual({ bytes: 256 * MIB, digest })
    expect(inFlight.most).toBeLessThan(MAX_IN_FLIGHT)
    expect(await edge.peakGrowthMiB()).toBeLessThan(MAX_GROWTH_MIB)
  })

  test("while a client reads slowly: its application is held back", async () => {
    const inFlight = { read: 0, most: 0 }
    const sent = Promise.withResolvers<string>()
    await using app = await openApp(async (_, response) => {
      const onWritten = (bytes: number) => void (inFlight.most = Math.max(inFlight.most, bytes - inFlight.read))
      sent.resolve(await writeBody(response, 256 * MIB, onWritten))
    })
    await edge.peakGrowthMiB()
    const response = await responseOf(ask(app.port, "GET").end())
    const got = await readBody(response, { turns: 8, onRead: (bytes) => void (inFlight.read = bytes) })
    expect(got).toEqual({ bytes: 256 * MIB, digest: await sent.promise })
    expect(inFlight.most).toBeLessThan(MAX_IN_FLIGHT)
    expect(await edge.peakGrowthMiB()).toBeLessThan(MAX_GROWTH_MIB)
  })

  test("while a connection of HTTP/2 asks again and again: no request that is over stays with it", async () => {
    await using app = await openApp(async () => "hello")
    await using client = await connectHttp2({ edge, ca: edge.ca, vm: edge })
    const askMany = async (count: number) => {
      for (let asked = 0; asked < count; asked += 50) {
        const answers = await Promise.all(Array.from({ length: 50 }, () => client.get(app.port)))
        expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
      }
    }
    await askMany(REQUESTS / 10)
    let keptMiB = Infinity
    for (let time = 0; time < 3 && keptMiB >= MAX_KEPT_MIB; time++) {
      const before = await edge.heapMiB()
      await askMany(REQUESTS)
      keptMiB = (await edge.heapMiB()) - before
    }
    expect(keptMiB).toBeLessThan(MAX_KEPT_MIB)
  })
})
