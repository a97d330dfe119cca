import {
  CreateMicrovmImageCommand,
  SuspendMicrovmCommand,
  TerminateMicrovmCommand,
} from "@aws-sdk/client-lambda-microvms"
import { CloudWatchLogs } from "@aws-sdk/client-cloudwatch-logs"
import { request, type IncomingMessage } from "node:http"
import { createInterface } from "node:readline"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { eventually } from "../fixtures/eventually.ts"
import type { LogEntry } from "../../src/logs/entry.ts"
import { sign } from "../api/signed-fetch.ts"
import { arnOf, REGION, PATIENT, startTestDaemon, type TestDaemon, type TestVm } from "../fixtures/daemon.ts"
import { firstBuildOf } from "../fixtures/image-builds.ts"

/** It says what it is asked to say, and misbehaves when it is asked to. */
const SERVER = `const { createServer } = require("node:http")
const { spawn } = require("node:child_process")
console.log("said while the image was built")
createServer((request, response) => {
  const url = new URL(request.url, "http://guest")
  const words = url.searchParams.get("words")
  const routes = {
    "/say": () => (console.log(words), console.error("ERR " + words)),
    "/exit": () => (console.log(words), process.exit(3)),
    "/flood": () => spawn("seq", ["2000000"], { stdio: "inherit" }).on("exit", () => response.end("flooded")),
    "/bomb": () => void spawn("sh", ["-c", "mkfifo /tmp/never; while :; do read line < /tmp/never & done"], { stdio: "inherit" }),
    "/hog": () => void spawn("tail", ["/dev/zero"], { stdio: "ignore" }).on("exit", (code, signal) => console.log("the child ended by " + signal)),
    "/hog-itself": () => { const held = []; for (;;) held.push(Buffer.alloc(1 << 20, 1)) },
  }
  routes[url.pathname]?.() ?? response.end("done")
}).listen(8080)
`
const FILES = {
  Dockerfile: 'FROM torpor/debian:13\nCOPY server.js /\nEXPOSE 8080\nCMD ["node", "/server.js"]\n',
  "server.js": SERVER,
}

const opened = new AsyncDisposableStack()
let daemon: TestDaemon
beforeAll(async () => {
  daemon = opened.use(await startTestDaemon({}, PATIENT))
  await daemon.build("talker", FILES)
})
afterAll(() => opened.disposeAsync())

/** The log of a MicroVM or a build, line by line as it comes. */
async function* linesOf(resource: string, query: string): AsyncGenerator<LogEntry> {
  const { accessKeyId, secretAccessKey } = await daemon.client.config.credentials()
  const path = `/torpor/v1/${resource}/logs${query}`
  const port = daemon.apiPort
  const { headers } = sign({ path, region: REGION, accessKeyId, secretAccessKey }, `127.0.0.1:${port}`)
  const sent = request({ host: "127.0.0.1", port, path, headers, agent: false }).end()
  const response = await new Promise<IncomingMessage>((resolve, reject) =>
    sent.once("response", resolve).once("error", reject),
  )
  if (response.statusCode !== 200) throw new Error(`${response.statusCode}`)
  const lines = createInterface({ input: response })
  try {
    for await (const line of lines) yield JSON.parse(line) as LogEntry
  } finally {
    // Who leaves early cuts it off.
    for (const emitter of [response, lines]) emitter.on("error", () => {})
    sent.destroy()
  }
}
const logOf = (id: string, query = "") => linesOf(`microvms/${id}`, query)
const all = async (id: string, query = "") => {
  const found: string[] = []
  for await (const { stream, text } of logOf(id, query)) found.push(`${stream} ${text}`)
  return found
}
const LOST: unknown = expect.stringMatching(/^notice \[\d+ characters of output were lost\]$/)
const end = async (vm: TestVm) => {
  vm.close()
  await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
  await daemon.untilState(vm.id, "TERMINATED")
}

describe("The log of a MicroVM", () => {
  test("is what its application has said since its launch, before and after it slept, up to its exit; who follows it reads along", async () => {
    const vm = await daemon.run({ image: "talker" })
    const followed = all(vm.id, "?follow=1")
    await vm.get("/say?words=one")
    await daemon.client.send(new SuspendMicrovmCommand({ microvmIdentifier: vm.id }))
    await daemon.untilState(vm.id, "SUSPENDED")
    await vm.get("/say?words=two")
    await vm.get("/exit?words=last").catch(() => {})
    await daemon.untilState(vm.id, "TERMINATED")
    const log = await all(vm.id)
    expect(log.filter((line) => line.startsWith("stdout"))).toEqual(["stdout one", "stdout two", "stdout last"])
    expect(log.filter((line) => line.startsWith("stderr"))).toEqual(["stderr ERR one", "stderr ERR two"])
    expect(await followed).toEqual(log)
    expect(await all(vm.id, "?from=1&limit=2")).toEqual(log.slice(1, 3))
    vm.close()
  })

  test("has what was said just before it was terminated", async () => {
    const vm = await daemon.run({ image: "talker" })
    await vm.get("/say?words=the+result")
    await end(vm)
    expect(await all(vm.id)).toEqual(expect.arrayContaining(["stdout the result", "stderr ERR the result"]))
    const credentials = await daemon.client.config.credentials()
    const endpoint = `http://127.0.0.1:${daemon.apiPort}`
    const client = new CloudWatchLogs({ endpoint, region: REGION, credentials })
    const logGroupName = "/aws/lambda-microvms/talker"
    const { logStreams = [] } = await client.describeLogStreams({ logGroupName })
    const streamOf = (like: RegExp) => logStreams.find(({ logStreamName = "" }) => like.test(logStreamName))
    const saidIn = async (logStreamName = "") =>
      (await client.getLogEvents({ logGroupName, logStreamName })).events?.map(({ message }) => message)
    const mine = streamOf(new RegExp(`^\\d{4}/\\d\\d/\\d\\d\\[1\\.0\\]${vm.id}$`))
    expect(await saidIn(mine?.logStreamName)).toEqual(expect.arrayContaining(["the result", "ERR the result"]))
    expect(await saidIn(streamOf(/\[0\.0\]/)?.logStreamName)).toContain("[app] said while the image was built")
    expect(await saidIn(streamOf(/\[1\.0\](?!microvm-)/)?.logStreamName)).toEqual(["said while the image was built"])
    client.destroy()
  })

  test("goes on when the daemon was killed and another took over", async () => {
    const vm = await daemon.run({ image: "talker" })
    await vm.get("/say?words=before")
    const heard = new Set<string>()
    for await (const { text } of logOf(vm.id, "?follow=1")) if (heard.add(text).size === 2) break
    await daemon.stop("SIGKILL")
    await daemon.restart("SIGKILL")
    const again = await daemon.adopt(vm.id)
    await again.get("/say?words=after")
    await end(again)
    vm.close()
    const log = await all(vm.id)
    // Each stream is in its order.
    expect(log.filter((line) => line.startsWith("stdout"))).toEqual(["stdout before", "stdout after"])
    expect(log.filter((line) => !line.startsWith("stdout"))).toEqual(["stderr ERR before", "stderr ERR after"])
  })

  test("isn't kept when logging is disabled", async () => {
    const vm = await daemon.run({ image: "talker", logging: { disabled: {} } })
    await vm.get("/say?words=secret")
    await end(vm)
    expect(await all(vm.id, "?follow=1")).toEqual([])
  })

  test("isn't kept when its image disables that, and neither is the build's, unless a run asks for it", async () => {
    await daemon.client.send(
      new CreateMicrovmImageCommand({
        name: "quiet",
        baseImageArn: `arn:aws:lambda:${REGION}:aws:microvm-image:al2023-1`,
        buildRoleArn: "arn:aws:iam::000000000000:role/build",
        codeArtifact: { uri: "s3://test/talker.zip" },
        resources: [{ minimumMemoryInMiB: 512 }],
        logging: { disabled: {} },
      }),
    )
    await daemon.untilBuilt("quiet")
    const { buildId } = await firstBuildOf(daemon.client, arnOf("quiet"))
    const told: object[] = []
    for await (const line of linesOf(`builds/${buildId}`, "")) told.push(line)
    expect(told).toEqual([{ state: "SUCCESSFUL", reason: null }])
    const [quiet, loud] = [
      await daemon.run({ image: "quiet" }),
      await daemon.run({ image: "quiet", logging: { cloudWatch: {} } }),
    ]
    for (const vm of [quiet, loud]) {
      await vm.get("/say?words=hello")
      await end(vm)
    }
    expect(await all(quiet.id)).toEqual([])
    expect(new Set(await all(loud.id))).toEqual(new Set(["stdout hello", "stderr ERR hello"]))
  })

  test("tells how much of a flood is lost, and where; the application doesn't wait for it", async () => {
    const vm = await daemon.run({ image: "talker" })
    expect((await vm.get("/flood")).body).toBe("flooded")
    await eventually(async () => expect(await all(vm.id)).toContainEqual(LOST), { timeout: 120_000, interval: 500 })
    const kept = (await all(vm.id)).filter((line) => /^stdout \d+$/.test(line))
    expect(kept.length).toBeGreaterThan(100)
    // Nothing of what is kept is there twice; what was cut through by the loss may be the end of any number.
    expect(new Set(kept).size).toBeGreaterThan(kept.length - 10)
    await end(vm)
  })

  test("is another account's or nobody's: not found", async () => {
    await expect(all(`microvm-${crypto.randomUUID()}`)).rejects.toThrow("404")
    await expect(all("nonsense")).rejects.toThrow("404")
  })
})

describe("An application that takes more than it has", () => {
  test("of memory, in a child of it, loses that one", async () => {
    const vm = await daemon.run({ image: "talker" })
    await vm.get("/hog")
    for await (const { text } of logOf(vm.id, "?follow=1")) if (text === "the child ended by SIGKILL") break
    expect((await vm.get("/say?words=still+here")).body).toBe("done")
    await end(vm)
  })

  test("of processes keeps its MicroVM, whose agent tells of it", async () => {
    const vm = await daemon.run({ image: "talker" })
    await vm.get("/bomb")
    for await (const { text } of logOf(vm.id, "?follow=1")) if (text.includes("Cannot fork")) break
    await daemon.untilState(vm.id, "RUNNING")
    await end(vm)
  })

  test("of memory itself ends with that reason", async () => {
    const vm = await daemon.run({ image: "talker" })
    await vm.get("/hog-itself").catch(() => {})
    expect(await daemon.untilState(vm.id, "TERMINATED")).toEqual({
      stateReason: "The application ran out of memory and was ended.",
    })
    vm.close()
  })
})
