import { once } from "node:events"
import { constants, createServer as createHttp2Server, type Http2Server, type ServerHttp2Stream } from "node:http2"
import { createServer, type AddressInfo, type Server, type Socket } from "node:net"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { AgentError } from "../../src/agent/agent-error.ts"
import { createAgentClient, type AgentClient } from "../../src/agent/client.ts"

const never = new AbortController().signal
const secret = Buffer.alloc(32, 7)

/** What the guest does with the next request. */
let guest: (stream: ServerHttp2Stream, headers: Record<string, unknown>) => void
let server: Http2Server
let agent: AgentClient
const sessions = new Set<{ destroy(): void }>()

const listen = async (listening: Server | Http2Server) => {
  listening.listen(0, "127.0.0.1")
  await once(listening, "listening")
  return (listening.address() as AddressInfo).port
}
beforeEach(async () => {
  server = createHttp2Server()
  server.on("session", (session) => sessions.add(session.on("error", () => {})))
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {})
    guest(stream, headers)
  })
  agent = createAgentClient("127.0.0.1", await listen(server), secret)
})
afterEach(() => {
  agent.close()
  for (const session of sessions) session.destroy()
  sessions.clear()
  server.close()
})

const answers = (status: number, body: string) => {
  guest = (stream) => {
    stream.respond({ ":status": status })
    stream.end(body)
  }
}
/** Sends the same as long as the host takes it; `ended` resolves when the host has had enough. */
const endless = (stream: ServerHttp2Stream, piece: string): Promise<void> => {
  const ended = new Promise<void>((resolve) => stream.once("close", resolve))
  const go = () => {
    while (!stream.destroyed && stream.write(piece));
  }
  stream.on("drain", go)
  go()
  return ended
}
const follow = (onData: (data: string, stream: string) => void = () => {}, signal = never) =>
  agent.followOutput("main", onData, signal)
const reasonOf = async (failing: Promise<unknown>): Promise<Error> =>
  failing.then(
    () => expect.unreachable("It did not fail"),
    (error: unknown) => error as Error,
  )

describe("The agent's client", () => {
  test("asks with the secret of this life", async () => {
    const asked = Promise.withResolvers<unknown>()
    guest = (stream, headers) => {
      stream.respond({ ":status": 200 })
      stream.end("{}")
      asked.resolve(headers)
    }
    await agent.removeFile("/a b", never)
    expect(await asked.promise).toMatchObject({
      ":method": "DELETE",
      ":path": "/files?path=%2Fa+b",
      authorization: `Bearer ${"07".repeat(32)}`,
    })
  })

  test("takes nothing that it didn't ask for", async () => {
    const allowed = Promise.withResolvers<boolean>()
    guest = (stream) => {
      allowed.resolve(stream.pushAllowed)
      stream.respond({ ":status": 200 })
      stream.end("{}")
    }
    await agent.removeFile("/a", never)
    expect(await allowed.promise).toBe(false)
  })

  test("connects again after the guest closed its connection", async () => {
    answers(200, "{}")
    await agent.removeFile("/a", never)
    for (const session of sessions) session.destroy()
    await agent.removeFile("/a", never).catch(() => agent.removeFile("/a", never))
    expect(sessions.size).toBe(2)
  })

  test("passes output on in pieces, says what was lost, and resolves with the end", async () => {
    guest = (stream) => {
      stream.respond({ ":status": 200 })
      stream.write('{"stream":"stdout","data":"a\\u001b"}\n{"dro')
      stream.end('pped":3}\n{"stream":"stderr","data":"b"}\n{"end":{"code":1,"signal":"SIGTERM"}}\n')
    }
    const pieces: [string, string][] = []
    const end = await follow((data, stream) => pieces.push([stream, data]))
    expect(end).toEqual({ code: 1, signal: "SIGTERM" })
    expect(pieces).toEqual([
      ["stdout", "a\u001b"],
      ["stderr", "[3 characters of output were lost]\n"],
      ["stderr", "b"],
    ])
  })
})

describe("A guest that refuses", () => {
  test("is quoted without anything that acts on a terminal, and not at length", async () => {
    answers(400, JSON.stringify({ message: `\x1b[2J\0no\r\nOK \u202e\u2028${"x".repeat(10_000)}` }))
    const { message } = await reasonOf(agent.removeFile("/a", never))
    expect(message).toMatch(/^\\u001b\[2J\\u0000no\\u000d\\u000aOK \\u202e\\u2028x+$/)
    expect(message.length).toBeLessThan(2100)
  })

  test.for<[what: string, body: string]>([
    ["nothing", ""],
    ["no JSON", "\x1b[2J"],
    ["another message", '{"message":{"toString":"x"}}'],
    ["null", "null"],
    ["a list", "[]"],
  ])("with %s has given no reason", async ([, body]) => {
    answers(500, body)
    expect(await reasonOf(agent.removeFile("/a", never))).toEqual(new AgentError("The guest refused without a reason"))
  })

  test.for([200, 400])("with an answer of 1 MiB and status %s is not read to the end", async (status) => {
    const ended = Promise.withResolvers<void>()
    guest = (stream) => {
      stream.respond({ ":status": status })
      void endless(stream, "x".repeat(1024 ** 2)).then(ended.resolve)
    }
    expect(await reasonOf(agent.removeFile("/a", never))).toEqual(new AgentError("The guest's answer is too large"))
    await ended.promise
  })
})

describe("A guest whose output", () => {
  test("has no end of line is not read any further", async () => {
    const ended = Promise.withResolvers<void>()
    guest = (stream) => {
      stream.respond({ ":status": 200 })
      void endless(stream, "x".repeat(65_536)).then(ended.resolve)
    }
    expect(await reasonOf(follow())).toEqual(new AgentError("The guest's answer is too large"))
    await ended.promise
  })

  test("never ends is read until the caller has had enough", async () => {
    const [ended, enough] = [Promise.withResolvers<void>(), new AbortController()]
    guest = (stream) => {
      stream.respond({ ":status": 200 })
      void endless(stream, '{"stream":"stdout","data":"more"}\n').then(ended.resolve)
    }
    let pieces = 0
    const followed = follow(() => {
      if (++pieces === 1000) enough.abort()
    }, enough.signal)
    expect((await reasonOf(followed)).name).toBe("AbortError")
    await ended.promise
  })

  test.for<[what: string, line: string]>([
    ["is no JSON", "\x1b[2J"],
    ["is empty", ""],
    ["is of no kind", '{"stdout":"x"}'],
    ["is on no stream", '{"stream":"\\u001b","data":"x"}'],
    ["is no text", '{"stream":"stdout","data":7}'],
    ["is larger than a piece may be", JSON.stringify({ stream: "stdout", data: "x".repeat(256 * 1024 + 1) })],
    ["ends by a signal that acts on a terminal", '{"end":{"code":0,"signal":"SIG\\u001b[2J"}}'],
    ["ends with no code", '{"end":{"code":"0","signal":null}}'],
  ])("%s is refused, and not quoted", async ([, line]) => {
    answers(200, `${line}\n`)
    expect(await reasonOf(follow())).toEqual(new AgentError("The guest's answer is malformed"))
  })

  test.for<[how: string, end: (stream: ServerHttp2Stream) => void]>([
    ["ends", (stream) => stream.end()],
    ["ends in the midst of a line", (stream) => stream.end('{"end":{"code":0,"signal":null}}')],
    ["is cancelled", (stream) => stream.close(constants.NGHTTP2_CANCEL)],
    ["is broken off", (stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR)],
    ["goes with its connection", (stream) => stream.session?.destroy()],
  ])("%s before its process did is no end of the process", async ([, end]) => {
    guest = (stream) => {
      stream.respond({ ":status": 200 })
      stream.write('{"stream":"stdout","data":"x"}\n')
      end(stream)
    }
    expect(await reasonOf(follow())).toBeInstanceOf(Error)
  })
})

describe("A guest that doesn't answer", () => {
  test.for<[how: string, end: (stream: ServerHttp2Stream) => void]>([
    ["cancels the request", (stream) => stream.close(constants.NGHTTP2_CANCEL)],
    ["breaks the request off", (stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR)],
    ["ends it without an error", (stream) => stream.close(constants.NGHTTP2_NO_ERROR)],
    ["refuses the stream", (stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM)],
    ["closes the connection", (stream) => stream.session?.destroy()],
    ["says that it goes away", (stream) => stream.session?.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM)],
  ])("but %s is known to have failed", async ([, end]) => {
    guest = end
    expect(await reasonOf(agent.removeFile("/a", never))).toBeInstanceOf(Error)
    expect(await reasonOf(follow())).toBeInstanceOf(Error)
  })

  test("at all is waited for no longer than the caller wants", async () => {
    const patience = new AbortController()
    guest = () => patience.abort()
    expect((await reasonOf(agent.removeFile("/a", patience.signal))).name).toBe("AbortError")
  })

  test("to the end is waited for no longer than the caller wants", async () => {
    const patience = new AbortController()
    guest = (stream) => {
      stream.respond({ ":status": 200 })
      stream.write('{"stream":"stdout","data":"x"}\n')
    }
    expect((await reasonOf(follow(() => patience.abort(), patience.signal))).name).toBe("AbortError")
  })

  test.for<[how: string, speak: (socket: Socket) => void]>([
    ["HTTP/1.1", (socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")],
    ["garbage", (socket) => socket.write(Buffer.alloc(100_000, 0xa5))],
    ["nothing, and hangs up", (socket) => socket.destroy()],
  ])("but speaks %s is known to have failed", async ([, speak]) => {
    const [other, sockets] = [createServer(), new Set<Socket>()]
    other.on("connection", (socket) => {
      sockets.add(socket.on("error", () => {}))
      socket.resume()
      speak(socket)
    })
    const client = createAgentClient("127.0.0.1", await listen(other), secret)
    expect(await reasonOf(client.removeFile("/a", never))).toBeInstanceOf(Error)
    client.close()
    for (const socket of sockets) socket.destroy()
    other.close()
  })

  test("because nobody listens is known to have failed", async () => {
    const other = createServer()
    const port = await listen(other)
    other.close()
    await once(other, "close")
    const client = createAgentClient("127.0.0.1", port, secret)
    expect((await reasonOf(client.removeFile("/a", never))).message).toContain("ECONNREFUSED")
    client.close()
  })
})
