import {
  connect,
  constants as http2,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
} from "node:http2"
import { once } from "node:events"
import { Readable } from "node:stream"
import type { z } from "zod"
import { AgentError, parseJson, refusalFrom } from "./agent-error.ts"
import { createCaller, openConnection } from "./calls.ts"
import { createFunctionClient, type FunctionClient } from "./function-client.ts"
import {
  FileList,
  OutputFrame,
  type Calls,
  type ContextSpec,
  type CopySpec,
  type DirectorySpec,
  type DownloadSpec,
  type DriveSpec,
  type LayersSpec,
  type ProcessEnd,
  type ProcessSpec,
  type UnpackSpec,
} from "./protocol.ts"
import { COMPLETE_TRAILER, FILE_SIZE_HEADER } from "./version.ts"

export interface WriteFileOptions {
  /** A source that has more is refused, and nothing of it is kept. */
  readonly maxBytes: number
  /** When it is left out, that of the file which is replaced, else 0644. */
  readonly mode?: number
  /** `user`, `user:group`, ids or names; when it is left out, that of the file which is replaced, else root. */
  readonly owner?: string
  /** Directories that are missing on the way are made, and belong to `owner`. */
  readonly makeParents?: boolean
}

export interface AgentClient extends FunctionClient {
  startProcess(name: string, spec: ProcessSpec, signal: AbortSignal): Promise<void>
  /** What a process says, from its beginning to its end; `onData` gets pieces, not lines. Resolves with how it ended. */
  followOutput(
    name: string,
    onData: (data: string, stream: "stdout" | "stderr") => void,
    signal: AbortSignal,
  ): Promise<ProcessEnd>
  endProcess(name: string, signal: AbortSignal): Promise<void>
  /** What the application has said until now goes to the agent port, and then the mark. */
  flushOutput(mark: string, signal: AbortSignal): Promise<void>
  mountDrives(specs: readonly DriveSpec[], signal: AbortSignal): Promise<void>
  /** Rejects when something in the guest still has it open. */
  unmountDrive(drive: number, signal: AbortSignal): Promise<void>
  unpackContext(spec: ContextSpec, signal: AbortSignal): Promise<void>
  unpackCode(spec: UnpackSpec, signal: AbortSignal): Promise<void>
  download(spec: DownloadSpec, signal: AbortSignal): Promise<void>
  applyLayers(spec: LayersSpec, signal: AbortSignal): Promise<void>
  copy(spec: CopySpec, signal: AbortSignal): Promise<void>
  makeDirectory(spec: DirectorySpec, signal: AbortSignal): Promise<void>
  mountDisk(signal: AbortSignal): Promise<void>
  freezeDisk(signal: AbortSignal): Promise<void>
  thawDisk(signal: AbortSignal): Promise<void>
  settle(signal: AbortSignal): Promise<void>
  rehearse(signal: AbortSignal): Promise<void>
  /** Resolves when something accepts connections on the port. */
  untilListening(port: number, signal: AbortSignal): Promise<void>
  /** A file's bytes as they were when it was opened. Refused when there are more than `maxBytes`; the stream fails when they don't come, or when it isn't read before `signal`. */
  readFile(
    path: string,
    maxBytes: number,
    signal: AbortSignal,
  ): Promise<{ readonly size: number; readonly content: Readable }>
  /** Replaces or makes a file, whole or not at all. */
  writeFile(
    path: string,
    source: AsyncIterable<Uint8Array>,
    options: WriteFileOptions,
    signal: AbortSignal,
  ): Promise<void>
  /** Up to `limit` (1–1000) entries in the order of their names; `after` is an earlier page's `next`. */
  listDirectory(
    path: string,
    page: { readonly limit: number; readonly after?: string | undefined },
    signal: AbortSignal,
  ): Promise<FileList>
  /** Removes a file, a link or an empty directory. */
  removeFile(path: string, signal: AbortSignal): Promise<void>
  close(): void
}

const MAX_ANSWER_BYTES = 64 * 1024
/** A thousand names of control characters, each of which JSON makes six. */
const MAX_LIST_BYTES = 4 * 1024 * 1024
const MAX_FRAME_CHARACTERS = 512 * 1024

/**
 * A client of one life of one guest, over its slot's address; the caller closes it. It connects when it is first used: for calls, for a
 * function's events, and by HTTP/2 for what is streamed.
 */
export const createAgentClient = (address: string, port: number, secret: Buffer): AgentClient => {
  let session: ClientHttp2Session | undefined
  const connection = () => openConnection(address, port, secret)
  const caller = createCaller(connection)
  const functions = createFunctionClient(caller, connection)

  const request = (
    method: string,
    path: string,
    options: { endStream?: boolean; waitForTrailers?: boolean },
    signal: AbortSignal,
  ): ClientHttp2Stream => {
    if (session === undefined || session.closed || session.destroyed) {
      session = connect(`http://${address}:${port}`, { settings: { enablePush: false } })
      // Its requests fail with it; nobody else needs to hear.
      session.on("error", () => {})
    }
    const stream = session.request(
      { ":method": method, ":path": path, authorization: `Bearer ${secret.toString("hex")}` },
      { ...options, signal },
    )
    // Whoever waits for it hears of it; an abort that nobody waits for any more is no error.
    stream.on("error", () => {})
    return stream
  }

  const answered = async (stream: ClientHttp2Stream): Promise<IncomingHttpHeaders> => {
    const headers = await responseOf(stream)
    if (headers[":status"] === 200) return headers
    throw refusalFrom(parseJson(await textOf(stream)))
  }

  const open = async (method: string, path: string, signal: AbortSignal) => {
    const stream = request(method, path, { endStream: true }, signal)
    return { stream, headers: await answered(stream) }
  }

  const ask = async <Name extends keyof Calls>(name: Name, params: Calls[Name], signal: AbortSignal): Promise<void> => {
    await caller.call(name, params, signal)
  }

  return {
    ...functions,
    startProcess: (name, spec, signal) => ask("startProcess", { name, spec }, signal),
    endProcess: (name, signal) => ask("endProcess", { name }, signal),
    flushOutput: (mark, signal) => ask("flushOutput", { mark }, signal),
    mountDrives: (specs, signal) => ask("mountDrives", specs, signal),
    unmountDrive: (drive, signal) => ask("unmountDrive", { drive }, signal),
    unpackCode: (spec, signal) => ask("unpackCode", spec, signal),
    download: (spec, signal) => ask("download", spec, signal),
    applyLayers: (spec, signal) => ask("applyLayers", spec, signal),
    unpackContext: (spec, signal) => ask("unpackContext", spec, signal),
    copy: (spec, signal) => ask("copy", spec, signal),
    makeDirectory: (spec, signal) => ask("makeDirectory", spec, signal),
    mountDisk: (signal) => ask("mountDisk", {}, signal),
    freezeDisk: (signal) => ask("freezeDisk", {}, signal),
    thawDisk: (signal) => ask("thawDisk", {}, signal),
    settle: (signal) => ask("settle", {}, signal),
    rehearse: (signal) => ask("rehearse", {}, signal),
    untilListening: (listenPort, signal) => ask("untilListening", { port: listenPort }, signal),
    async followOutput(name, onData, signal) {
      const { stream } = await open("GET", `/processes/${name}/output`, signal)
      for await (const line of linesOf(stream)) {
        const frame = parsed(OutputFrame, line)
        if ("end" in frame) return frame.end
        if ("dropped" in frame) onData(`[${frame.dropped} characters of output were lost]\n`, "stderr")
        else onData(frame.data, frame.stream)
      }
      throw new AgentError("The guest ended the output of a process that has not ended")
    },
    async readFile(path, maxBytes, signal) {
      const { stream, headers } = await open("GET", filesPath(path), signal)
      const said = headers[FILE_SIZE_HEADER]
      const size = typeof said === "string" && /^\d{1,16}$/.test(said) ? Number(said) : Infinity
      if (size <= maxBytes) return { size, content: Readable.from(exactly(size, stream), { objectMode: false }) }
      stream.close(http2.NGHTTP2_CANCEL)
      throw new AgentError(`The file is larger than ${maxBytes} bytes`, "EFBIG")
    },
    async writeFile(path, source, { maxBytes, mode, owner, makeParents = false }, signal) {
      const stream = request(
        "PUT",
        filesPath(path, {
          max: String(maxBytes),
          ...(mode === undefined ? {} : { mode: mode.toString(8) }),
          ...(owner === undefined ? {} : { owner }),
          ...(makeParents ? { parents: "" } : {}),
        }),
        { endStream: false, waitForTrailers: true },
        signal,
      )
      const answer = answered(stream)
      try {
        await Promise.race([answer, pump(source, stream)])
        await answer
        await textOf(stream)
      } finally {
        stream.close(http2.NGHTTP2_CANCEL)
      }
    },
    async listDirectory(path, { limit, after }, signal) {
      const query = { list: "", limit: String(limit), ...(after === undefined ? {} : { after }) }
      const { stream } = await open("GET", filesPath(path, query), signal)
      return parsed(FileList, await textOf(stream, MAX_LIST_BYTES))
    },
    async removeFile(path, signal) {
      const { stream } = await open("DELETE", filesPath(path), signal)
      await textOf(stream)
    },
    close() {
      caller.close()
      functions.close()
      session?.destroy()
    },
  }
}

const filesPath = (path: string, more: Record<string, string> = {}) =>
  `/files?${new URLSearchParams({ path, ...more }).toString()}`

/** Rejects when the stream ends in any way before its headers; a guest that cancels it makes no error of it. */
const responseOf = (stream: ClientHttp2Stream): Promise<IncomingHttpHeaders & { ":status"?: number }> =>
  new Promise((resolve, reject) => {
    stream
      .once("response", resolve)
      .once("error", reject)
      .once("close", () => reject(new AgentError("The guest closed the connection before it answered")))
  })

/** Says nothing of the text where it is wrong: it would be the guest's words. */
const parsed = <Schema extends z.ZodType>(schema: Schema, text: string): z.infer<Schema> => {
  const { data, success } = schema.safeParse(parseJson(text))
  if (!success) throw new AgentError("The guest's answer is malformed")
  return data
}

/** The guest has said how many bytes there are: neither more nor fewer are a file. */
async function* exactly(size: number, stream: ClientHttp2Stream): AsyncGenerator<Buffer> {
  let bytes = 0
  for await (const chunk of stream) {
    bytes += (chunk as Buffer).length
    if (bytes > size) throw new AgentError("The guest sent more than it had said")
    yield chunk as Buffer
  }
  if (bytes < size) throw new AgentError("The file became shorter while it was read")
}

/** Sends a source to its end, at the guest's pace. */
const pump = async (source: AsyncIterable<Uint8Array>, stream: ClientHttp2Stream): Promise<void> => {
  const closed = new Promise<void>((resolve) => stream.once("close", resolve))
  for await (const chunk of source) {
    if (stream.destroyed) return
    if (!stream.write(chunk)) await Promise.race([once(stream, "drain"), closed])
  }
  // Node ends a stream that it closes early like any other: this says that it was all.
  stream.once("wantTrailers", () => stream.sendTrailers({ [COMPLETE_TRAILER]: "1" }))
  stream.end()
}

const textOf = async (stream: ClientHttp2Stream, maxCharacters = MAX_ANSWER_BYTES): Promise<string> => {
  let text = ""
  for await (const chunk of stream.setEncoding("utf8")) {
    text += chunk as string
    if (text.length > maxCharacters) throw new AgentError("The guest's answer is too large")
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
