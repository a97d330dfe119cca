import { once } from "node:events"
import { connect, type Socket } from "node:net"
import { describe, expect, it, onTestFinished } from "vitest"
import type { RuntimeApi } from "../../../images/agent/functions/runtime-api.ts"
import { toFailureContent } from "../../../src/agent/event-frames.ts"
import { createFrameReader } from "../../../src/agent/frames.ts"
import { ARN, eventOf, openApi, openPort, resultOf } from "./program.ts"

const MAX_BYTES = 6_291_556

const frame = (kind: string, content: Buffer | string = ""): Buffer => {
  const bytes = Buffer.from(content)
  const head = Buffer.alloc(5)
  head.write(kind)
  head.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}

const open = async (options: Parameters<typeof openApi>[0] = {}) => {
  const api = await openApi(options)
  onTestFinished(() => api[Symbol.asyncDispose]())
  return api
}

const dial = (api: Pick<RuntimeApi, "port">, to = "torpor.runtime:1"): Socket => {
  const socket = connect({ port: api.port, host: "127.0.0.1" })
  socket.on("error", () => {})
  socket.write(`CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\n\r\n`)
  return socket
}

/** A runtime's end of a channel, and the events that it hears. */
const openChannel = (api: Pick<RuntimeApi, "port">) => {
  const channel = dial(api)
  const events: unknown[] = []
  let isGreeted = false
  const read = createFrameReader(
    () => MAX_BYTES,
    (kind, content = Buffer.alloc(4)) => {
      if (kind === 0x56) {
        events.push([kind, JSON.parse(String(content))])
        return
      }
      const end = 4 + content.readUInt32BE()
      events.push([kind, JSON.parse(content.toString("utf8", 4, end)), content.toString("utf8", end)])
    },
  )
  channel.on("data", (data: Buffer) => {
    const from = isGreeted ? 0 : data.indexOf("\r\n\r\n") + 4
    isGreeted = true
    if (from < data.length) read(data.subarray(from))
  })
  const hear = () => expect.poll(() => events.shift())
  return { channel, hear }
}

describe("A runtime on a channel", () => {
  it("may connect before there is a function, and goes on by that; another is left alone", async () => {
    const programPort = await openPort()
    onTestFinished(() => programPort.close())
    const { channel: earlier } = openChannel(programPort)
    await once(earlier, "data")
    const { channel, hear } = openChannel(programPort)
    await expect.poll(() => earlier.closed).toBe(true)
    const api = await open({ programPort })
    channel.write(frame("N"))
    await api.initialised
    const answer = api.invoke(eventOf({ n: 1 }, { requestId: "first" }))
    await hear().toEqual([0x49, expect.objectContaining({ requestId: "first" }), '{"n":1}'])
    channel.write(frame("R", "1"))
    expect(await resultOf(answer)).toEqual({ response: "1" })
    await api[Symbol.asyncDispose]()
    await expect.poll(() => channel.closed).toBe(true)
    // Between two lives there is nothing to be asked.
    const asking = connect({ port: programPort.port, host: "127.0.0.1" })
    asking.on("error", () => {}).write("GET /2018-06-01/ping HTTP/1.1\r\n\r\n")
    await expect.poll(() => asking.closed).toBe(true)
    const next = await open({ programPort })
    expect(await (await fetch(`http://127.0.0.1:${next.port}/2018-06-01/ping`)).text()).toBe("pong")
  })

  it("is given an event with what is known of it, answers, and has the next by that", async () => {
    const api = await open()
    const { channel, hear } = openChannel(api)
    channel.write(frame("N"))
    const first = api.invoke(eventOf("one", { requestId: "1", deadlineMs: 5, traceId: "Root=ü" }))
    const about = { requestId: "1", deadlineMs: 5, functionArn: ARN, traceId: "Root=ü" }
    await hear().toEqual([0x49, about, '"one"'])
    const answer = frame("R", "{}")
    channel.write(answer.subarray(0, 3))
    channel.write(answer.subarray(3))
    expect(await first.head).toEqual({ contentType: "application/json", isStreamed: false })
    expect(await resultOf(first)).toEqual({ response: "{}" })
    await first.settled
    const second = api.invoke(eventOf("two"))
    await hear().toMatchObject({ 2: '"two"' })
    channel.write(frame("E", toFailureContent("Function.Broken", Buffer.from('{"errorType":"E"}'))))
    expect(await resultOf(second)).toMatchObject({ errorType: "Function.Broken", error: { errorType: "E" } })
    await second.settled
  })

  it("waits for its restore, has the variables of that, and then its event", async () => {
    const api = await open({ initializationType: "snap-start" })
    const { channel, hear } = openChannel(api)
    channel.write(frame("S"))
    await api.initialised
    const answer = api.invoke(eventOf("one"))
    api.restore({ AWS_LAMBDA_LOG_STREAM_NAME: "its own" })
    await hear().toEqual([0x56, { AWS_LAMBDA_LOG_STREAM_NAME: "its own" }])
    channel.write(frame("N"))
    await api.restored
    await hear().toMatchObject({ 2: '"one"' })
    channel.write(frame("R", "{}"))
    expect(await resultOf(answer)).toEqual({ response: "{}" })
  })

  it("that comes from no snapshot waits for no restore", async () => {
    const { channel } = openChannel(await open())
    channel.write(frame("S"))
    await once(channel, "close")
  })

  it("that ends itself with its error has no other event", async () => {
    const api = await open()
    const { channel, hear } = openChannel(api)
    channel.write(frame("N"))
    const answer = api.invoke(eventOf("one"))
    await hear().toBeDefined()
    channel.end(frame("X", toFailureContent("Runtime.Unknown", Buffer.from("{}"))))
    expect(await resultOf(answer)).toMatchObject({ errorType: "Runtime.Unknown" })
    api.fail({ errorType: "Runtime.ExitError", body: Buffer.from("{}") })
    await answer.settled
    expect(api.isOver).toBe(true)
  })

  it("answers too much, which its caller is told, and takes the next event all the same", async () => {
    const api = await open()
    const { channel, hear } = openChannel(api)
    channel.write(frame("N"))
    for (const bytes of [MAX_BYTES + 1, MAX_BYTES + 10_000]) {
      const answer = api.invoke(eventOf("much"))
      await hear().toBeDefined()
      channel.write(frame("R", Buffer.alloc(bytes)))
      expect(await resultOf(answer)).toMatchObject({ errorType: "Function.ResponseSizeTooLarge" })
      await answer.settled
    }
    const last = api.invoke(eventOf("all"))
    await hear().toBeDefined()
    channel.write(frame("R", Buffer.alloc(MAX_BYTES, "y")))
    expect((await resultOf(last)).response).toHaveLength(MAX_BYTES)
  })

  it("is not heard any more when it says what it may not", async () => {
    const api = await open()
    const stranger = dial(api)
    stranger.write(frame("Z"))
    await once(stranger.resume(), "close")
    const { channel, hear } = openChannel(api)
    channel.write(frame("N"))
    api.invoke(eventOf("one"))
    await hear().toBeDefined()
    // It has an event.
    channel.write(frame("N"))
    await once(channel, "close")
  })

  it("is on the port of those who speak HTTP, before and after them, and may ask for its channel in pieces", async () => {
    const api = await open()
    const { channel, hear } = openChannel(api)
    const ping = async () => (await fetch(`http://127.0.0.1:${api.port}/2018-06-01/ping`)).text()
    expect(await ping()).toBe("pong")
    channel.write(frame("N"))
    const first = api.invoke(eventOf("one"))
    await hear().toMatchObject({ 2: '"one"' })
    channel.write(frame("R", "{}"))
    expect(await resultOf(first)).toEqual({ response: "{}" })
    await first.settled
    const slow = connect({ port: api.port, host: "127.0.0.1", noDelay: true })
    onTestFinished(() => void slow.destroy())
    const words = "CONNECT torpor.runtime:1 HTTP/1.1\r\nHost: torpor.runtime:1\r\n\r\n"
    slow.write(words.slice(0, 10))
    expect(await ping()).toBe("pong")
    slow.write(words.slice(10))
    expect(String(await once(slow, "data"))).toMatch(/^HTTP\/1\.1 200 /)
    slow.write(frame("N"))
    await once(channel, "close")
    api.invoke(eventOf("two"))
    expect(String(await once(slow, "data"))).toContain('"two"')
  })

  it("is what nobody else asks for by chance", async () => {
    const heard = dial(await open(), "example.com:443").setEncoding("latin1")
    expect(String(await once(heard, "data"))).toMatch(/^HTTP\/1\.1 404 /)
  })
})
