import { spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { createServer, type Server, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { startTimeOf } from "../../src/vmm/process/process.ts"
import { createQemuVm, type QemuVmParts } from "../../src/vmm/qemu-vm.ts"
import { eventually } from "../fixtures/eventually.ts"
import { openQmp, QmpError, type Qmp } from "../../src/vmm/qmp/qmp.ts"

const never = new AbortController().signal
const GREETING = '{"QMP":{"version":{"qemu":{"micro":2,"minor":0,"major":10}},"capabilities":[]}}\r\n'

interface Command {
  readonly execute: string
  readonly id: number
  readonly arguments?: unknown
}

let directory: string
let path: string
let server: Server
let sockets: Set<Socket>
/** What QEMU does with each command after the first, which is `qmp_capabilities`. */
let answer: (socket: Socket, command: Command) => void
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "torpor-qmp-"))
  path = join(directory, "qmp")
  sockets = new Set()
  answer = (socket, { id }) => socket.write(`{"return":{},"id":${id}}\r\n`)
  server = createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    socket.write(GREETING)
    createInterface({ input: socket }).on("line", (line) => {
      const command = JSON.parse(line) as Command
      if (command.execute === "qmp_capabilities") socket.write(`{"return":{},"id":${command.id}}\r\n`)
      else answer(socket, command)
    })
  })
  server.listen(path)
  await once(server, "listening")
})
afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  server.close()
  await rm(directory, { recursive: true, force: true })
})
const closeOf = (qmp: Qmp) => new Promise<void>((resolve) => qmp.once("close", () => resolve()))

describe("QEMU's control channel", () => {
  test("brings each answer to who asked, in whatever order and pieces they come, with events between them", async () => {
    const held: Command[] = []
    answer = (socket, command) => {
      held.push(command)
      if (held.length < 2) return
      for (const { id, execute } of held.toReversed()) {
        socket.write('{"event":"STOP","timestamp":{"seconds":1,"microseconds":2}}\r\n{"return":{"of":')
        socket.write(`"${execute}"},"id":${id}}\r\n`)
      }
    }
    const qmp = await openQmp(path, never)
    const events: unknown[] = []
    qmp.on("event", (name, data) => events.push([name, data]))
    const answers = await Promise.all([qmp.execute("one"), qmp.execute("two", { x: 1 })])
    expect(answers).toEqual([{ of: "one" }, { of: "two" }])
    expect(held[1]?.arguments).toEqual({ x: 1 })
    expect(events).toEqual([
      ["STOP", {}],
      ["STOP", {}],
    ])
    qmp.close()
  })

  test("says what QEMU refused, in its words, and on one line", async () => {
    answer = (socket, { id }) =>
      socket.write(`{"error":{"class":"GenericError","desc":"Invalid parameter 'x'\\n\\u0000"},"id":${id}}\r\n`)
    const qmp = await openQmp(path, never)
    const refused = qmp.execute("migrate-incoming")
    await expect(refused).rejects.toThrow(String.raw`QEMU refused migrate-incoming: Invalid parameter 'x'\u000a\u0000`)
    await expect(refused).rejects.toBeInstanceOf(QmpError)
    qmp.close()
  })

  test("that ends leaves nobody waiting, and is known to be gone", async () => {
    answer = (socket) => socket.destroy()
    const qmp = await openQmp(path, never)
    const closed = closeOf(qmp)
    const asked = [qmp.execute("stop"), qmp.execute("cont")]
    await expect(asked[0]).rejects.toThrow("QEMU ended before it answered stop")
    await expect(asked[1]).rejects.toThrow("QEMU ended before it answered cont")
    await closed
    expect(qmp.closed).toBe(true)
    await expect(qmp.execute("stop")).rejects.toThrow("QEMU is gone: stop cannot be asked")
  })

  test("is given up when the caller has had enough of a QEMU that doesn't negotiate", async () => {
    server.removeAllListeners("connection")
    const silent = once(server, "connection") as Promise<[Socket]>
    const patience = new AbortController()
    const opened = expect(openQmp(path, patience.signal)).rejects.toThrow("enough")
    const [socket] = await silent
    sockets.add(socket.resume())
    patience.abort(new Error("enough"))
    await opened
    if (!socket.destroyed) await once(socket, "close")
  })
})

describe("A QEMU that doesn't answer", () => {
  const limits = { commandMs: 300, flushMs: 600 }
  /** On a busy machine its negotiation may take as long. */
  const open = () => eventually(() => openQmp(path, never, limits))

  test("is given up with a truthful word for everybody who waits, and asked nothing more", async () => {
    answer = () => {}
    const qmp = await open()
    const asked = [qmp.execute("cont"), qmp.execute("query-status")]
    const cause = new Error("QEMU did not answer cont within 0.3 s")
    await expect(asked[0]).rejects.toMatchObject({ message: "QEMU ended before it answered cont", cause })
    await expect(asked[1]).rejects.toMatchObject({ message: "QEMU ended before it answered query-status", cause })
    expect(qmp.failure).toEqual(cause)
    await expect(qmp.execute("stop")).rejects.toThrow("QEMU is gone: stop cannot be asked")
  })

  test("has longer for what it writes out first, and what is asked meanwhile waits for that", async () => {
    answer = () => {}
    const qmp = await open()
    const cause = new Error("QEMU did not answer stop within 0.6 s")
    const asked = Promise.allSettled([qmp.execute("stop"), qmp.execute("query-status")])
    expect(await asked).toMatchObject([{ reason: { cause } }, { reason: { cause } }])
  })

  test("does not negotiate for ever, whoever waits", async () => {
    server.removeAllListeners("connection").on("connection", (socket: Socket) => void sockets.add(socket.resume()))
    await expect(openQmp(path, never, limits)).rejects.toMatchObject({
      cause: new Error("QEMU did not answer qmp_capabilities within 0.3 s"),
    })
  })

  test("is ended, which is the end of its VM, with the same word", async () => {
    answer = () => {}
    const vmId = randomUUID()
    const child = spawn(process.execPath, ["--eval", "setInterval(() => {}, 1e9)", "--", "-uuid", vmId])
    const ended = once(child, "exit")
    await once(child, "spawn")
    const startTime = await startTimeOf(child.pid ?? 0)
    const vm = createQemuVm({
      process: { id: vmId, pid: child.pid ?? 0, startTime: startTime ?? 0 },
      qmp: await open(),
      spec: {},
    } as QemuVmParts)
    await expect(vm.continue()).rejects.toThrow("QEMU ended before it answered cont")
    expect(await vm.exited).toEqual({ byGuest: false, reason: "QEMU did not answer cont within 0.3 s" })
    expect(await ended).toEqual([null, "SIGKILL"])
  })
})

describe("A QEMU that a guest has taken over", () => {
  test.for<[what: string, says: string | Buffer]>([
    ["no JSON", "hello\r\n"],
    ["an empty line", "\r\n"],
    ["null", "null\r\n"],
    ["an event without a name", '{"event":{"toString":1}}\r\n'],
    ["an event with other data", '{"event":"STOP","data":"x"}\r\n'],
    ["an error without words", '{"error":"x","id":2}\r\n'],
    ["bytes that are no text", Buffer.from([0xff, 0xfe, 0x00, 0x0a])],
  ])("and says %s is not listened to any more, and harms nobody else", async ([, says]) => {
    answer = (socket) => socket.write(says)
    const qmp = await openQmp(path, never)
    await expect(qmp.execute("stop")).rejects.toMatchObject({
      message: "QEMU ended before it answered stop",
      cause: new Error("QEMU said something that is no message"),
    })
    expect(qmp.closed).toBe(true)
  })

  test("and whose line has no end is not listened to any more", async () => {
    answer = (socket) => {
      const go = () => {
        while (!socket.destroyed && socket.write("x".repeat(65_536)));
      }
      socket.on("drain", go)
      go()
    }
    const qmp = await openQmp(path, never)
    await expect(qmp.execute("stop")).rejects.toMatchObject({ cause: new Error("QEMU said too much in one line") })
  })

  test("and answers what nobody asked is not believed", async () => {
    answer = (socket, { id }) => socket.write(`{"return":1,"id":999}\r\n{"return":2}\r\n{"return":3,"id":${id}}\r\n`)
    const qmp = await openQmp(path, never)
    expect(await qmp.execute("stop")).toBe(3)
    qmp.close()
  })
})
