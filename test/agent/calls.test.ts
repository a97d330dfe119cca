import { once } from "node:events"
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net"
import { describe, expect, onTestFinished, test } from "vitest"
import { createCallServer, type CallHandlers } from "../../images/agent/call-server.ts"
import { AgentError } from "../../src/agent/agent-error.ts"
import { createCaller, openConnection, type Caller } from "../../src/agent/calls.ts"
import { CALL_KINDS, createFrameReader, toFrame, toUInt32 } from "../../src/agent/frames.ts"

const SECRET = Buffer.alloc(32, 7)
const never = new AbortController().signal

const listen = async (server: Server): Promise<number> => {
  const sockets = new Set<Socket>()
  server.on("connection", (socket) => sockets.add(socket.on("error", () => {})))
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  onTestFinished(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return (server.address() as AddressInfo).port
}
const callerOf = (port: number, secret = SECRET): Caller => {
  const caller = createCaller(() => openConnection("127.0.0.1", port, secret))
  onTestFinished(() => caller.close())
  return caller
}
const reasonOf = async (failing: Promise<unknown>): Promise<Error> =>
  failing.then(
    () => expect.unreachable("It did not fail"),
    (error: unknown) => error as Error,
  )

describe("A call", () => {
  const serve = async (handlers: Partial<CallHandlers>) => {
    const server = createCallServer({
      handlers: handlers as CallHandlers,
      isSecret: (given) => given.equals(SECRET),
      serveEvents: () => () => {},
      takeOther: (socket) => void socket.on("data", (data: Buffer) => socket.end(data)).resume(),
    })
    return { port: await listen(server) }
  }

  test("has its answer, whichever is first, all on one connection", async () => {
    const first = Promise.withResolvers<void>()
    let connections = 0
    const server = createCallServer({
      handlers: {
        mountDisk: () => first.promise,
        settle: async () => first.resolve(),
        untilInitialised: async () => ({ failed: null }),
      } as Partial<CallHandlers> as CallHandlers,
      isSecret: (given) => given.equals(SECRET),
      serveEvents: () => () => {},
      takeOther: () => {},
    })
    server.on("connection", () => connections++)
    const { call } = callerOf(await listen(server))
    const answers = [call("mountDisk", {}, never), call("untilInitialised", {}, never), call("settle", {}, never)]
    expect(await Promise.all(answers)).toEqual([{}, { failed: null }, {}])
    expect(connections).toBe(1)
  })

  test("tells what is wanted, of any length and in any letters", async () => {
    const path = `/ü\n${"x".repeat(200_000)}`
    const { port } = await serve({ makeDirectory: async (spec) => ({ heard: spec.path.length, owner: spec.owner }) })
    const heard = await callerOf(port).call("makeDirectory", { path, owner: null }, never)
    expect(heard).toEqual({ heard: path.length, owner: null })
  })

  test("that is refused has failed with the guest's words, without anything that acts on a terminal", async () => {
    const { port } = await serve({
      async settle() {
        throw Object.assign(new Error(`\x1b[2J${"x".repeat(10_000)}`), { code: "ENOSPC" })
      },
    })
    const error = (await reasonOf(callerOf(port).call("settle", {}, never))) as AgentError
    expect(error).toBeInstanceOf(AgentError)
    expect(error.message).toMatch(/^\\u001b\[2Jx+/)
    expect(error.message.length).toBeLessThan(2100)
    expect(error.code).toBe("ENOSPC")
  })

  test("that is given up is given up in the guest, and the connection goes on", async () => {
    const [begun, left] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const { port } = await serve({
      untilListening: async (_, call) => {
        const signal = call.signal()
        signal.addEventListener("abort", () => left.resolve())
        begun.resolve()
        await left.promise
        signal.throwIfAborted()
      },
      settle: async () => {},
    })
    const { call } = callerOf(port)
    const patience = new AbortController()
    const waited = call("untilListening", { port: 1 }, patience.signal)
    await begun.promise
    patience.abort()
    expect((await reasonOf(waited)).name).toBe("AbortError")
    await left.promise
    expect(await call("settle", {}, never)).toEqual({})
    expect((await reasonOf(call("settle", {}, patience.signal))).name).toBe("AbortError")
  })

  test("by somebody who isn't the host is not heard", async () => {
    let isCalled = false
    const { port } = await serve({ settle: async () => void (isCalled = true) })
    for (const secret of [Buffer.alloc(32), Buffer.alloc(0), Buffer.alloc(65, 7), Buffer.alloc(1_000_000, 7)])
      expect(await reasonOf(callerOf(port, secret).call("settle", {}, never))).toBeInstanceOf(Error)
    expect(isCalled).toBe(false)
  })

  test("is told from what else is spoken on the port, of which no byte is lost", async () => {
    const { port } = await serve({})
    const other = connect(port, "127.0.0.1")
    other.end("PRI * HTTP/2.0")
    expect(String(await once(other, "data"))).toBe("PRI * HTTP/2.0")
  })
})

describe("A guest", () => {
  /** What it sends to the first call, whose number is 0. */
  const answering = async (answer: (socket: Socket) => void) => {
    let connections = 0
    const server = createServer((socket) => {
      connections++
      const read = createFrameReader(
        () => 1_000_000,
        (kind) => {
          if (kind === CALL_KINDS.call) answer(socket)
        },
      )
      socket.on("data", read)
    })
    return { caller: callerOf(await listen(server)), connections: () => connections }
  }
  const answerOf = (number: number, text: string, kind: number = CALL_KINDS.result) =>
    toFrame(kind, toUInt32(number), Buffer.from(text))

  test.for<[what: string, frames: Buffer]>([
    ["is of no kind", answerOf(0, "{}", 9)],
    ["is of the host's kind", answerOf(0, "{}", CALL_KINDS.call)],
    ["is to no call", toFrame(CALL_KINDS.result, Buffer.of(0, 0))],
    ["comes twice", Buffer.concat([answerOf(7, "{}"), answerOf(7, "{}")])],
    ["is HTTP", Buffer.from("HTTP/1.1 200 OK\r\n\r\n")],
  ])("whose answer %s is not heard any more", async ([, frames]) => {
    const { caller } = await answering((socket) => void socket.write(frames))
    const { message } = await reasonOf(caller.call("settle", {}, never))
    expect(message).toMatch(/malformed|too large/)
  })

  test("whose answer is larger than any is not read to its end", async () => {
    const ended = Promise.withResolvers<void>()
    const { caller } = await answering((socket) => {
      socket.once("close", () => ended.resolve())
      socket.write(Buffer.of(CALL_KINDS.result, 255, 255, 255, 255))
      const go = () => {
        while (!socket.destroyed && socket.write(Buffer.alloc(65_536)));
      }
      socket.on("drain", go)
      go()
    })
    const error = await reasonOf(caller.call("settle", {}, never))
    expect(error).toEqual(new AgentError("The guest's answer is too large"))
    await ended.promise
  })

  test.for([
    ["nothing", ""],
    ["no JSON", "\x1b[2J"],
    ["another message", '{"message":{"toString":"x"}}'],
    ["null", "null"],
  ])("that refuses with %s has given no reason", async ([, body = ""]) => {
    const { caller } = await answering((socket) => void socket.write(answerOf(0, body, CALL_KINDS.error)))
    const error = await reasonOf(caller.call("settle", {}, never))
    expect(error).toEqual(new AgentError("The guest refused without a reason"))
  })

  test("that hangs up has refused nothing, and is called again on another connection", async () => {
    let calls = 0
    const { caller, connections } = await answering((socket) => {
      if (calls++ === 0) socket.destroy()
      else socket.write(answerOf(0, "{}"))
    })
    expect(await reasonOf(caller.call("settle", {}, never))).not.toBeInstanceOf(AgentError)
    expect(await caller.call("settle", {}, never)).toEqual({})
    expect(connections()).toBe(2)
  })

  test("that doesn't listen is known to have failed", async () => {
    const server = createServer()
    const port = await listen(server)
    server.close()
    await once(server, "close")
    expect((await reasonOf(callerOf(port).call("settle", {}, never))).message).toContain("ECONNREFUSED")
  })
})
