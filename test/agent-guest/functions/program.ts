/** A runtime or an extension: a program of its own, as it is started in a guest, against a Runtime API of the test's. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { setImmediate as turn } from "node:timers/promises"
import { openProgramPort } from "../../../images/agent/functions/program-port.ts"
import { openRuntimeApi, type RuntimeApi, type RuntimeApiOptions } from "../../../images/agent/functions/runtime-api.ts"
import type { Answer, InvocationEvent } from "../../../images/agent/functions/invocation.ts"

/** Where programs reach an API, for its life or for several: on any port that is free, unless one is given. */
export const openPort = (port = 0) => openProgramPort({ address: "127.0.0.1", port })

export const openApi = async (options: Partial<RuntimeApiOptions> = {}): Promise<RuntimeApi> => {
  const programPort = options.programPort ?? (await openPort())
  const api = openRuntimeApi({
    programPort,
    identity: { functionName: "greet", functionVersion: "3", handler: "index.handler", accountId: "000000000000" },
    extensions: [],
    initializationType: "on-demand",
    ...options,
  })
  const dispose = api[Symbol.asyncDispose]
  const end = async () => {
    await dispose()
    if (options.programPort === undefined) await programPort.close()
  }
  return Object.assign(api, { [Symbol.asyncDispose]: end })
}

export const ARN = "arn:aws:lambda:eu-west-1:000000000000:function:greet:live"

let invocations = 0
export const eventOf = (content: unknown, more: Partial<InvocationEvent> = {}): InvocationEvent => ({
  requestId: `00000000-0000-4000-8000-${String(++invocations).padStart(12, "0")}`,
  deadlineMs: Date.now() + 60_000,
  functionArn: ARN,
  payload: Buffer.from(JSON.stringify(content)),
  mode: "buffered",
  ...more,
})

export const textOf = async (answer: Answer): Promise<string> => {
  const chunks: Buffer[] = []
  for await (const chunk of answer.body()) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString("utf8")
}

/** What a caller of the function gets: a response, or the kind of its failure and the failure's JSON. */
export const resultOf = async (answer: Answer) => {
  const text = await textOf(answer)
  const failure = await answer.end
  return failure === undefined
    ? { response: text }
    : { response: text, errorType: failure.errorType, error: JSON.parse(failure.body.toString("utf8")) as unknown }
}

/** An event's result; the function is done with it, and what was said for it has been heard. */
export const invoke = async (
  { api }: { readonly api: RuntimeApi },
  content: unknown,
  more: Partial<InvocationEvent> = {},
) => {
  const answer = api.invoke(eventOf(content, more))
  const result = await resultOf(answer)
  await Promise.race([answer.settled, api.failed])
  await turn()
  return result
}

/** A directory with these files, executable; disposing it removes it. */
export const openFiles = async (files: Readonly<Record<string, string>>) => {
  const path = await mkdtemp(join(tmpdir(), "function-"))
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(path, name)), { recursive: true })
    await writeFile(join(path, name), content)
    await chmod(join(path, name), 0o755)
  }
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  }
}

/** Starts a program; disposing it kills it, with all that it has started: what waits for an event would hold its pipes open for ever. `said` is all that it said so far; `tell` gives it a line on its standard input. */
export const startProgram = (
  api: Pick<RuntimeApi, "port">,
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
) => {
  const [file = "", ...rest] = argv
  const child = spawn(file, rest, {
    cwd: env["LAMBDA_TASK_ROOT"],
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
    env: { PATH: process.env["PATH"], AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${api.port}`, ...env },
  })
  const said = { stdout: "", stderr: "" }
  child.stdout.setEncoding("utf8").on("data", (data: string) => (said.stdout += data))
  child.stderr.setEncoding("utf8").on("data", (data: string) => (said.stderr += data))
  const closed = once(child, "close") as Promise<[code: number | null, signal: string | null]>
  return {
    said,
    closed,
    leave: () => void child.stdin.end(),
    tell: (line: string) => void child.stdin.write(`${line}\n`),
    async [Symbol.asyncDispose]() {
      try {
        process.kill(-(child.pid ?? 0), "SIGKILL")
      } catch {
        // None of them is left.
      }
      await closed
    },
  }
}
