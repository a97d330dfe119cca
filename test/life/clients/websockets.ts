import { once } from "node:events"
import type { IncomingMessage } from "node:http"
import { text } from "node:stream/consumers"
import { describe, expect, test } from "vitest"
import { WebSocket, type ClientOptions } from "ws"
import { ports } from "../../fixtures/clients-app/ports.ts"
import { ECHO } from "../../fixtures/clients-app/websocket.ts"
import { headersTo, UNUSED_PORT, type Ground, type Reached } from "./ground.ts"

/** What a client that cannot set headers offers. */
const offer = ({ token }: Reached, ...more: string[]) => [
  "lambda-microvms",
  `lambda-microvms.authentication.${token}`,
  ...more,
]

export const describeWebSockets = (ground: () => Ground): void => {
  /** Opened, and told what head the application got. */
  const open = async (protocols: string[], options: ClientOptions = {}, path = "/socket") => {
    const { vm, ca } = ground()
    const socket = new WebSocket(`wss://${vm.name}${path}`, protocols, { ca, ...options })
    const [first] = (await once(socket, "message")) as [Buffer]
    return { socket, got: JSON.parse(first.toString()) as { url: string; headers: Record<string, string> } }
  }
  const echo = async (socket: WebSocket, data: string | Buffer) => {
    const message = once(socket, "message") as Promise<[Buffer, boolean]>
    socket.send(data)
    return message
  }
  const close = async (socket: WebSocket) => {
    socket.close()
    await once(socket, "close")
  }

  describe("A WebSocket of ws", () => {
    test("that offers token and port as subprotocols has its own agreed on, and the application sees no other", async () => {
      const { socket, got } = await open(offer(ground().vm, ECHO, `lambda-microvms.port.${ports.http}`))
      expect(socket.protocol).toBe(ECHO)
      expect(got.headers["sec-websocket-protocol"]).toBe(ECHO)
      expect(await echo(socket, "hello")).toEqual([Buffer.from("hello"), false])
      await close(socket)
    })

    test("that offers no other is told the base one", async () => {
      const { socket, got } = await open(offer(ground().vm))
      expect(socket.protocol).toBe("lambda-microvms")
      expect(got.headers["sec-websocket-protocol"]).toBeUndefined()
      await close(socket)
    })

    test("that says its token in a header is told none", async () => {
      const { socket, got } = await open([], { headers: headersTo(ground().vm) }, "/socket?a=b")
      expect(socket.protocol).toBe("")
      expect(got.url).toBe("/socket?a=b")
      expect(Object.keys(got.headers).filter((name) => name.startsWith("x-aws-proxy-"))).toEqual([])
      await close(socket)
    })

    test.for([true, false])("carries text, bytes, pieces and pings; compressed: %s", async (perMessageDeflate) => {
      const { socket } = await open(offer(ground().vm), { perMessageDeflate })
      expect(socket.extensions).toBe(perMessageDeflate ? "permessage-deflate" : "")
      const large = Buffer.alloc(1024 * 1024, "torpor")
      const [bytes, isBinary] = await echo(socket, large)
      expect([bytes.equals(large), isBinary]).toEqual([true, true])
      const whole = once(socket, "message")
      for (const [index, piece] of ["one, ", "two, ", "three"].entries()) socket.send(piece, { fin: index === 2 })
      expect(await whole).toEqual([Buffer.from("one, two, three"), false])
      const pong = once(socket, "pong")
      socket.ping("there?")
      expect(await pong).toEqual([Buffer.from("there?")])
      await close(socket)
    })

    test("is closed by the application with its code and reason", async () => {
      const { socket } = await open(offer(ground().vm))
      const closed = once(socket, "close")
      socket.send("close 4001")
      expect(await closed).toEqual([4001, Buffer.from("as asked")])
    })

    test.for([
      ["a neighbour's token", () => offer(ground().neighbour), "/socket", 403, "Token authentication failed"],
      ["no token", () => ["lambda-microvms"], "/socket", 403, "Request missing authentication"],
      [
        "a port that nobody listens on",
        () => offer(ground().vm, `lambda-microvms.port.${UNUSED_PORT}`),
        "/socket",
        502,
        "",
      ],
      ["a path that the application doesn't know", () => offer(ground().vm), "/none", 400, "Bad Request"],
    ] as const)("with %s is told why, by a status", async ([, protocols, path, status, body]) => {
      const { vm, ca } = ground()
      const socket = new WebSocket(`wss://${vm.name}${path}`, [...protocols()], { ca })
      const [, response] = (await once(socket, "unexpected-response")) as [unknown, IncomingMessage]
      expect([response.statusCode, await text(response)]).toEqual([status, body])
    })
  })
}
