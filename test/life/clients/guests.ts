import { once } from "node:events"
import type { IncomingMessage } from "node:http"
import { request as send } from "node:https"
import { connect, type IncomingHttpHeaders } from "node:http2"
import { text } from "node:stream/consumers"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { Agent, request } from "undici"
import { WebSocket } from "ws"
import { ports } from "../../fixtures/clients-app/ports.ts"
import { headersTo, parseSeen, type Ground } from "./ground.ts"

export const describeGuests = (ground: () => Ground): void => {
  describe.for([
    ["1.1", false],
    ["2", true],
  ] as const)("A client of HTTP/%s reaches an application", ([, allowH2]) => {
    let dispatcher: Agent
    beforeAll(() => {
      dispatcher = new Agent({ connect: { ca: ground().ca }, allowH2 })
    })
    afterAll(() => dispatcher.close())
    const ask = async (port: number, path: string, more: Record<string, string> = {}, body: string | null = null) => {
      const answer = await request(`https://${ground().vm.name}${path}`, {
        dispatcher,
        method: body === null ? "GET" : "POST",
        body,
        headers: { ...headersTo(ground().vm, port), ...more },
      })
      return { status: answer.statusCode, body: await answer.body.text(), trailers: answer.trailers }
    }

    test.for([
      ["of HTTP/1.1", ports.http, {}, "1.1", false],
      ["of HTTP/1.1 that listens on loopback alone", ports.loopback, {}, "1.1", false],
      ["of HTTP/2 without TLS, when it says so", ports.h2c, { "x-aws-proxy-force-h2": "true" }, "2.0", false],
      ["of HTTP/1.1 with TLS", ports.https, {}, "1.1", true],
      ["of HTTP/2 with TLS", ports.https2, {}, "2.0", true],
    ] as const)("%s", async ([, port, more, httpVersion, isEncrypted]) => {
      const { body } = await ask(port, "/seen?a=b", more, "a body")
      const seen = parseSeen(body)
      expect(seen).toMatchObject({ method: "POST", url: "/seen?a=b", httpVersion, isEncrypted, bytes: 6 })
      expect(Object.keys(seen.headers).filter((name) => name.startsWith("x-aws-proxy-"))).toEqual([])
      expect(seen.headers).toMatchObject({ "x-forwarded-proto": "https" })
      const trailing = await ask(port, "/trailers", { ...more, te: "trailers" })
      expect(trailing).toMatchObject({ body: "a body, and more", trailers: { "x-digest": "of it" } })
    })

    test("that takes one connection at a time, and is asked nothing but the question", async () => {
      for (let times = 0; times < 3; times++)
        expect(await ask(ports.single, "/")).toMatchObject({ status: 200, body: "one at a time" })
    })
  })

  describe("Trailers behind a request reach", () => {
    const sent = { "x-sum": "of it" }
    const over1 = async (port: number, more: Record<string, string>) => {
      const { vm, ca } = ground()
      const headers = { ...headersTo(vm, port), ...more, trailer: "x-sum" }
      const outgoing = send(`https://${vm.name}/seen`, { ca, method: "POST", headers })
      outgoing.write("a body")
      outgoing.addTrailers(sent)
      outgoing.end()
      const [answer] = (await once(outgoing, "response")) as [IncomingMessage]
      return parseSeen(await text(answer))
    }
    const over2 = async (port: number, more: Record<string, string>) => {
      const { vm, ca } = ground()
      const session = connect(`https://${vm.name}`, { ca })
      const headers = { ":method": "POST", ":path": "/seen", ...headersTo(vm, port), ...more }
      const stream = session.request(headers, { waitForTrailers: true })
      stream.once("wantTrailers", () => stream.sendTrailers(sent))
      stream.end("a body")
      const [head] = (await once(stream, "response")) as [IncomingHttpHeaders]
      expect(head[":status"]).toBe(200)
      const seen = parseSeen(await text(stream))
      session.close()
      return seen
    }
    test.for([
      ["HTTP/1.1", "HTTP/1.1", over1, ports.http, {}],
      ["HTTP/1.1", "HTTP/2", over1, ports.h2c, { "x-aws-proxy-force-h2": "true" }],
      ["HTTP/2", "HTTP/1.1", over2, ports.http, {}],
      ["HTTP/2", "HTTP/2", over2, ports.h2c, { "x-aws-proxy-force-h2": "true" }],
    ] as const)("the application, from %s to %s", async ([, , ask, port, more]) => {
      expect(await ask(port, more)).toMatchObject({ bytes: 6, trailers: sent })
    })
  })

  test("A WebSocket reaches an application behind its own TLS", async () => {
    const { vm, ca } = ground()
    const socket = new WebSocket(`wss://${vm.name}/socket`, { ca, headers: headersTo(vm, ports.https) })
    await once(socket, "message")
    socket.send("hello")
    expect(await once(socket, "message")).toEqual([Buffer.from("hello"), false])
    socket.close()
    await once(socket, "close")
  })
}
