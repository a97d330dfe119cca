/** What a function's caller waits for, beside the same handler in a server: in a VM that runs, and started cold by runc. */
import { setTimeout as sleep } from "node:timers/promises"
import {
  DeleteFunctionCommand,
  InvokeCommand,
  LambdaClient,
  PublishVersionCommand,
  UpdateFunctionConfigurationCommand,
  waitUntilFunctionUpdatedV2,
  type Runtime,
} from "@aws-sdk/client-lambda"
import { findRuntime } from "../images/runtimes/runtime-disks.ts"
import { parseConfig } from "../src/config.ts"
import type { TestDaemon } from "../test/fixtures/daemon.ts"
import { connectionOf, deploy, type Files } from "../test/fixtures/functions.ts"
import type { Bench } from "./bench.ts"
import { openJava } from "./java.ts"
import { openRunc, type RuncApp } from "./runc.ts"
import { timed } from "./samples.ts"

const NODE = "let count = 0\nexport const handler = async () => ({ count: ++count })\n"
const PYTHON = `count = 0

def handler(event, context):
    global count
    count += 1
    return {"count": count}
`
const PYTHON_SERVER: RuncApp = {
  argv: ["/usr/bin/python3", "server.py"],
  files: {
    "server.py": `import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer

count = 0

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        global count
        count += 1
        body = json.dumps({"count": count}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
`,
  },
}
/** Its Init is slow, and so are its events when they ask for it. */
const SLOW = `import { setTimeout as sleep } from "node:timers/promises"
await sleep(5000)
let count = 0
export const handler = async ({ sleepMs = 0 }) => {
  await sleep(sleepMs)
  return { count: ++count }
}
`
/** Warm events, at least. */
const WARM = 30
const AT_ONCE = 100
const BUSY_MS = 3000
const ASK_AGAIN_MS = 50
/** What nobody waits for any more is at rest, and what is made behind it is made. */
const SETTLED_MS = 1000
const READY_TIMEOUT_MS = 300_000

export const functions: Bench = {
  summary: "invoking functions warm and cold, beside a plain server and runc",
  claims: [
    { of: "warm invoke, above a plain server", most: 15 },
    { of: "cold start of Node", by: "runc: Node to first answer", most: 0.7 },
    { of: "cold start of Python", by: "runc: Python to first answer", most: 0.7 },
    { of: "cold start of Java", by: "runc: Java to first answer", most: 0.7 },
    { of: "cold start of Node, none warm", by: "runc: Node to first answer", most: 1.5 },
    { of: "cold start of Python, none warm", by: "runc: Python to first answer", most: 1.5 },
    { of: "cold start of Java, none warm", by: "runc: Java to first answer", most: 1.5 },
    { of: "later environments of a 5 s Init", by: "first environment of a 5 s Init", most: 1 / 8 },
  ],
  notes: [
    "A cold start is the first event of a version that was never invoked, in ms until its answer; runc's is until its first answer over HTTP.",
    "One that finds none warm follows at once another, which has taken the VM that stood loaded; it begins in a process that has rehearsed. That too is taken then, and whoever follows at once finds none ready.",
  ],
  async run({ daemon, rounds, progress, opened }) {
    // A connection may be closed for its idleness just as it is used again: like every user's client this one tries again.
    const lambda = new LambdaClient({ ...(await connectionOf(daemon)), maxAttempts: 3 })
    opened.defer(() => lambda.destroy())
    const disks = await findRuntime("java21", parseConfig(process.env))
    if (disks === undefined)
      progress(
        "functions: no Java, whose disk is not in the cache: the first function with the runtime java21 makes it",
      )
    const java = disks === undefined ? undefined : opened.use(await openJava(disks))
    const languages = [
      { language: "Node", name: "node", runc: opened.use(await openRunc()) },
      { language: "Python", name: "python", runc: opened.use(await openRunc(PYTHON_SERVER)) },
      ...(java === undefined
        ? []
        : [{ language: "Java", name: "java", runc: opened.use(await openRunc(java.server)) }]),
    ]
    const found: Record<string, number[]> = {}
    const note = (name: string, tookMs: number) => void (found[name] ??= []).push(tookMs)
    const make = (name: string, runtime: Runtime, files: Files) => deploy(lambda, name, runtime, files, { Timeout: 60 })
    await make("node", "nodejs24.x", { "index.mjs": NODE })
    await make("python", "python3.13", { "index.py": PYTHON })
    if (java !== undefined)
      await deploy(lambda, "java", "java21", java.files, { Timeout: 60, MemorySize: 512, Handler: java.handler })
    await make("slow", "nodejs24.x", { "index.mjs": SLOW })

    const vm = await daemon.run({ image: "bench" })
    opened.defer(() => vm.close())
    await vm.get("/")
    await call(lambda, "node", 1)
    for (let round = 1; round <= Math.max(rounds, WARM); round++) {
      let count = 0
      const invokedMs = await timed(async () => (count = await call(lambda, "node")))
      const askedMs = await timed(() => vm.get("/"))
      // On a busy machine an event may have come before the last was settled, and have an environment of its own: that isn't warm.
      if (count === 1) continue
      note("warm invoke", invokedMs)
      note("plain server", askedMs)
      note("warm invoke, above a plain server", invokedMs - askedMs)
    }
    progress("functions: warm ones are measured")

    // The first makes ready what the others begin with, and counts for nothing.
    for (let round = 0; round <= rounds; round++) {
      for (const { language, name, runc } of languages) {
        const versions = new Map<string, string>()
        for (const what of ["", ", none warm", ", none ready"])
          versions.set(what, await publish(lambda, name, `${round}${what}`))
        const ready = readyAgain(daemon)
        for (const [what, version] of versions) {
          const tookMs = await timed(() => call(lambda, `${name}:${version}`, 1))
          if (round > 0) note(`cold start of ${language}${what}`, tookMs)
        }
        for (const version of versions.values())
          await lambda.send(new DeleteFunctionCommand({ FunctionName: name, Qualifier: version }))
        await ready()
        note(`runc: ${language} to first answer`, await runc.start())
      }
      const last = Object.entries(found).map(([name, values]) => `${name} ${values.at(-1)?.toFixed(0)}`)
      progress(`functions: round ${round} of ${rounds}: ${last.join(", ")}`)
    }

    for (let round = 1; round <= rounds; round++) {
      const version = await publish(lambda, "slow", String(round))
      const name = `slow:${version}`
      const kept = snapshotsOf(daemon)
      note("first environment of a 5 s Init", await timed(() => call(lambda, name, 1)))
      const signal = AbortSignal.timeout(READY_TIMEOUT_MS)
      while (snapshotsOf(daemon) === kept) await sleep(ASK_AGAIN_MS, undefined, { signal })
      // It is at work while the second is asked for.
      const busy = call(lambda, name, 2, BUSY_MS)
      await untilAtWork(daemon, 1)
      note("later environments of a 5 s Init", await timed(() => call(lambda, name, 1)))
      // Until it is free the next event may be given another.
      await untilAtWork(daemon, 1)
      // What stood ready is taken, and no other is made while somebody waits.
      const also = call(lambda, name, 2, BUSY_MS)
      await untilAtWork(daemon, 2)
      note("later environments of a 5 s Init, none ready", await timed(() => call(lambda, name, 1)))
      await Promise.all([busy, also])
      // Where its environments wait for more, there soon is no memory for what is made ahead.
      await lambda.send(new DeleteFunctionCommand({ FunctionName: "slow", Qualifier: version }))
      if (round % 10 === 0) progress(`functions: ${round} of ${rounds} slow ones`)
    }

    const crowd = `node:${await publish(lambda, "node", "crowd")}`
    note(
      `${AT_ONCE} events at once, none of them warm`,
      await timed(() => Promise.all(Array.from({ length: AT_ONCE }, () => call(lambda, crowd)))),
    )
    return Object.fromEntries(Object.entries(found).map(([name, values]) => [name, { unit: "ms" as const, values }]))
  },
}

/** How many snapshots of functions a daemon has made. */
const snapshotsOf = ({ lines }: Pick<TestDaemon, "lines">) =>
  lines.filter((line) => line.includes('"A function has a snapshot"')).length

/** Resolves with the count that it answers; rejects unless it answers, with this one when one is expected. */
const call = async (lambda: LambdaClient, name: string, count?: number, sleepMs = 0): Promise<number> => {
  const { FunctionError, Payload = new Uint8Array() } = await lambda.send(
    new InvokeCommand({ FunctionName: name, Payload: JSON.stringify({ sleepMs }) }),
  )
  const text = Buffer.from(Payload).toString()
  if (FunctionError !== undefined) throw new Error(`${name} failed: ${text}`)
  const answer = JSON.parse(text) as { count: number }
  if (count !== undefined && answer.count !== count) throw new Error(`${name} should have counted ${count}: ${text}`)
  return answer.count
}

/**
 * From here on a runtime's VM that stands loaded is used, and its process that has rehearsed: the answer resolves when there are others, and
 * rejects when they don't come.
 */
const readyAgain = ({ lines }: Pick<TestDaemon, "lines">): (() => Promise<void>) => {
  const from = lines.length
  const wanted = [['"A VM stands loaded for a runtime"'], ['"A process stands ready"', '"kind":"rehearsed"']]
  return async () => {
    const signal = AbortSignal.timeout(READY_TIMEOUT_MS)
    const isThere = (parts: readonly string[]) =>
      lines.slice(from).some((line) => parts.every((part) => line.includes(part)))
    while (!wanted.every(isThere)) await sleep(ASK_AGAIN_MS, undefined, { signal })
    await sleep(SETTLED_MS)
  }
}

/** Resolves when functions are at so many events. */
const untilAtWork = async ({ apiPort }: Pick<TestDaemon, "apiPort">, count: number): Promise<void> => {
  const signal = AbortSignal.timeout(READY_TIMEOUT_MS)
  for (;;) {
    const metrics = await (await fetch(`http://127.0.0.1:${apiPort}/metrics`, { signal })).text()
    if (metrics.split("\n").includes(`torpor_function_concurrency ${count}`)) return
  }
}

/** Another version of the same code. */
const publish = async (lambda: LambdaClient, name: string, round: string): Promise<string> => {
  await lambda.send(new UpdateFunctionConfigurationCommand({ FunctionName: name, Description: `round ${round}` }))
  await waitUntilFunctionUpdatedV2(
    { client: lambda, maxWaitTime: 60, minDelay: 0.1, maxDelay: 1 },
    { FunctionName: name },
  )
  const { Version = "" } = await lambda.send(new PublishVersionCommand({ FunctionName: name }))
  return Version
}
