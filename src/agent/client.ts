import { connect, type ClientHttp2Session, type ClientHttp2Stream } from "node:http2"
import { once } from "node:events"
import {
  OutputFrame,
  type ContextSpec,
  type CopySpec,
  type DirectorySpec,
  type ProcessEnd,
  type ProcessSpec,
} from "./protocol.ts"

/** What the agent refused, in its words: the guest's, so for people and not for decisions. */
export class AgentError extends Error {
  override readonly name = "AgentError"
}

export interface AgentClient {
  startProcess(name: string, spec: ProcessSpec, signal: AbortSignal): Promise<void>
  /** What a process says, from its beginning to its end; `onData` gets pieces, not lines. Resolves with how it ended. */
  followOutput(
    name: string,
    onData: (data: string, stream: "stdout" | "stderr") => void,
    signal: AbortSignal,
  ): Promise<ProcessEnd>
  endProcess(name: string, signal: AbortSignal): Promise<void>
  unpackContext(spec: ContextSpec, signal: AbortSignal): Promise<void>
  copy(spec: CopySpec, signal: AbortSignal): Promise<void>
  makeDirectory(spec: DirectorySpec, signal: AbortSignal): Promise<void>
  freezeDisk(signal: AbortSignal): Promise<void>
  thawDisk(signal: AbortSignal): Promise<void>
  settle(signal: AbortSignal): Promise<void>
  /** Resolves when something accepts connections on the port. */
  untilListening(port: number, signal: AbortSignal): Promise<void>
  close(): void
}

const MAX_ANSWER_BYTES = 64 * 1024
const MAX_FRAME_CHARACTERS = 512 * 1024

/** A client of one life of one guest, over its slot's address; the caller closes it. Connects with its first request. */
export const createAgentClient = (address: string, port: number, secret: Buffer): AgentClient => {
  let session: ClientHttp2Session | undefined

  const open = (method: string, path: string, body: unknown, signal: AbortSignal): ClientHttp2Stream => {
    if (session === undefined || session.closed || session.destroyed) {
      session = connect(`http://${address}:${port}`)
      // Its requests fail with it; nobody else needs to hear.
      session.on("error", () => {})
    }
    const stream = session.request(
      { ":method": method, ":path": path, authorization: `Bearer ${secret.toString("hex")}` },
      { signal, endStream: body === undefined },
    )
    // Whoever waits for it hears of it; an abort that nobody waits for any more is no error.
    stream.on("error", () => {})
    if (body !== undefined) stream.end(JSON.stringify(body))
    return stream
  }

  const answered = async (stream: ClientHttp2Stream): Promise<void> => {
    const [headers] = (await once(stream, "response")) as [{ ":status"?: number }]
    if (headers[":status"] === 200) return
    throw new AgentError(messageFrom(await textOf(stream)))
  }

  const ask = async (method: string, path: string, body: unknown, signal: AbortSignal): Promise<void> => {
    const stream = open(method, path, body, signal)
    await answered(stream)
    await textOf(stream)
  }

  return {
    startProcess: (name, spec, signal) => ask("PUT", `/processes/${name}`, spec, signal),
    endProcess: (name, signal) => ask("DELETE", `/processes/${name}`, undefined, signal),
    unpackContext: (spec, signal) => ask("POST", "/context", spec, signal),
    copy: (spec, signal) => ask("POST", "/copy", spec, signal),
    makeDirectory: (spec, signal) => ask("POST", "/directory", spec, signal),
    freezeDisk: (signal) => ask("POST", "/disk/freeze", {}, signal),
    thawDisk: (signal) => ask("POST", "/disk/thaw", {}, signal),
    settle: (signal) => ask("POST", "/settle", {}, signal),
    untilListening: (listenPort, signal) => ask("GET", `/listening?port=${listenPort}`, undefined, signal),
    async followOutput(name, onData, signal) {
      const stream = open("GET", `/processes/${name}/output`, undefined, signal)
      await answered(stream)
      for await (const line of linesOf(stream)) {
        const frame = OutputFrame.parse(JSON.parse(line))
        if ("end" in frame) return frame.end
        if ("dropped" in frame) onData(`[${frame.dropped} pieces of output were lost]\n`, "stderr")
        else onData(frame.data, frame.stream)
      }
      throw new AgentError("The guest ended the output of a process that has not ended")
    },
    close: () => session?.destroy(),
  }
}

const textOf = async (stream: ClientHttp2Stream): Promise<string> => {
  let text = ""
  for await (const chunk of stream.setEncoding("utf8")) {
    text += chunk as string
    if (text.length > MAX_ANSWER_BYTES) throw new AgentError("The guest's answer is too large")
  }
  return text
}

async function* linesOf(stream: ClientHttp2Stream): AsyncGenerator<string> {
  let pending = ""
  for await (const chunk of stream.setEncoding("utf8")) {
    const lines = (pending + (chunk as string)).split("\n")
    pending = lines.pop() ?? ""
    if (pending.length > MAX_FRAME_CHARACTERS) throw new AgentError("The guest's answer is too large")
    yield* lines
  }
}

const messageFrom = (text: string): string => {
  try {
    const { message } = JSON.parse(text) as { message?: unknown }
    return typeof message === "string" ? message.slice(0, 2000) : "The guest refused"
  } catch {
    return "The guest refused without a reason"
  }
}
