import { spawn } from "node:child_process"
import { createServer, type IncomingMessage } from "node:http"
import { buffer, text } from "node:stream/consumers"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { credentials, region as apiRegion } from "../api/api-under-test.ts"
import { functionInput, startFunctions, type FunctionsUnderTest } from "../api/functions/functions-under-test.ts"
import { listen } from "../proxy/test-edge.ts"
import { PLAIN, runToEnd, torpor } from "./torpor.ts"

/** What a command is told that has no configuration. */
const region = "us-east-1"

let under: FunctionsUnderTest
let environment: Record<string, string>
beforeAll(async () => {
  under = await startFunctions()
  environment = {
    ...PLAIN,
    TORPOR_API_PORT: String(under.api.port),
    TORPOR_ACCESS_KEY_ID: credentials.accessKeyId,
    TORPOR_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  }
})
afterAll(() => under?.[Symbol.asyncDispose]())

describe("torpor functions ls", () => {
  test("shows each function of the account and the region, however many pages there are", async () => {
    const client = under.client({ region })
    await client.createFunction(await functionInput("first"))
    await client.createFunction(await functionInput("second-one", { MemorySize: 1024, Timeout: 30 }))
    await under.client({ region: apiRegion }).createFunction(await functionInput("elsewhere"))
    const { code, stdout, stderr } = await runToEnd(torpor("functions", "ls"), environment)
    expect([code, stderr]).toEqual([0, ""])
    expect(stdout.split("\n")).toEqual([
      expect.stringMatching(/^NAME {8}RUNTIME {4,} {2}MEMORY {2}TIMEOUT {2,}CODE {2}CHANGED$/),
      expect.stringMatching(
        /^first {7}nodejs24\.x {3,}128 MiB {6}3 s {2}\d+ bytes {2}\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
      ),
      expect.stringMatching(/^second-one {2}nodejs24\.x {2}1024 MiB {5}30 s {2}\d+ bytes {2}/),
      "",
    ])
    const listed = JSON.parse((await runToEnd(torpor("functions", "ls", "--json"), environment)).stdout) as unknown[]
    expect(listed).toMatchObject([{ FunctionName: "first" }, { FunctionName: "second-one" }])
  })
})

describe("torpor invoke", () => {
  const seen: { path: string | undefined; headers: IncomingMessage["headers"]; body: string }[] = []
  const server = createServer((request, response) => {
    void buffer(request).then((body) => {
      seen.push({ path: request.url, headers: request.headers, body: body.toString() })
      if (request.url?.includes("missing") === true) {
        response.writeHead(404, { "content-type": "application/json" }).end('{"Message":"Function not found: missing"}')
        return
      }
      const failed = request.url?.includes("failing") === true
      response
        .writeHead(200, {
          ...(request.headers["x-amz-log-type"] === "Tail"
            ? { "x-amz-log-result": Buffer.from("START\nred \u001b[31m\nEND\n").toString("base64") }
            : {}),
          ...(failed ? { "x-amz-function-error": "Unhandled" } : {}),
        })
        .end(failed ? '{"errorType":"Error"}' : `{"got":${body.toString()}}`)
    })
  })
  let of: Record<string, string>
  beforeAll(async () => void (of = { ...environment, TORPOR_API_PORT: String(await listen(server)) }))
  afterAll(() => void server.close())

  test("prints what the function answers, to an event of a file or of stdin", async () => {
    const directory = await mkdtemp(join(tmpdir(), "torpor-invoke-"))
    const file = join(directory, "event.json")
    await writeFile(file, '{"a":1}')
    expect((await runToEnd(torpor("invoke", "hello:live", "--payload", file), of)).stdout).toBe('{"got":{"a":1}}\n')
    const [program = "", ...words] = torpor("invoke", "hello", "-p", "-")
    const child = spawn(program, words, { env: of, stdio: ["pipe", "pipe", "inherit"] })
    child.stdin.end("[2]")
    expect(await text(child.stdout)).toBe('{"got":[2]}\n')
    expect(seen.map(({ path }) => path)).toEqual([
      "/2015-03-31/functions/hello%3Alive/invocations",
      "/2015-03-31/functions/hello/invocations",
    ])
    expect(seen[0]?.headers).not.toHaveProperty("x-amz-log-type")
    await rm(directory, { recursive: true })
  })

  test("shows the log's end beside it, with nothing that acts on a terminal", async () => {
    expect(await runToEnd(torpor("invoke", "hello", "--tail"), of)).toEqual({
      code: 0,
      stdout: '{"got":{}}\n',
      stderr: "START\nred [31m\nEND\n",
    })
  })

  test("ends with 1 when the function failed, isn't there, or its event can't be read", async () => {
    expect(await runToEnd(torpor("invoke", "failing:2"), of)).toEqual({
      code: 1,
      stdout: '{"errorType":"Error"}\n',
      stderr: "The function failed (Unhandled): see above, and `torpor logs failing`.\n",
    })
    expect(await runToEnd(torpor("invoke", "missing"), of)).toEqual({
      code: 1,
      stdout: "",
      stderr: "Function not found: missing: see `torpor functions ls`.\n",
    })
    const unread = await runToEnd(torpor("invoke", "hello", "-p", "/nowhere"), of)
    expect([unread.code, unread.stderr]).toEqual([
      1,
      expect.stringMatching(/^The payload cannot be read: ENOENT.*\. --payload wants a file, or - for stdin\.\n$/),
    ])
  })

  test("is signed as the API wants it: an alias's name with a colon finds its function", async () => {
    const { code, stderr } = await runToEnd(torpor("invoke", "nobody:live"), environment)
    expect([code, stderr]).toEqual([1, expect.not.stringContaining("signature")])
  })
})

describe("torpor functions usage", () => {
  test("shows what each version was used for, up to this moment", async () => {
    const client = under.client({ region })
    await client.createFunction(await functionInput("used", { Publish: true }))
    await under.settling.settled()
    for (const Qualifier of ["1", "1", "$LATEST"]) await client.invoke({ FunctionName: "used", Qualifier })
    await client.putFunctionConcurrency({ FunctionName: "used", ReservedConcurrentExecutions: 0 })
    await expect(client.invoke({ FunctionName: "used" })).rejects.toThrow("Rate Exceeded.")
    const { code, stdout, stderr } = await runToEnd(torpor("functions", "usage", "used"), environment)
    expect([code, stderr]).toEqual([0, ""])
    expect(stdout.split("\n")).toEqual([
      "VERSION  INVOCATIONS  ERRORS  THROTTLES  DURATION  GB-SECONDS",
      expect.stringMatching(/^\$LATEST {12}1 {7}0 {10}1 +\d+\.\d s +\d+\.\d{3}$/),
      expect.stringMatching(/^1 {18}2 {7}0 {10}0 +\d+\.\d s +\d+\.\d{3}$/),
      "",
    ])
    const json = (await runToEnd(torpor("functions", "usage", "used", "--since", "1h", "--json"), environment)).stdout
    expect(JSON.parse(json)).toMatchObject([
      { version: "$LATEST", hour: expect.stringMatching(/:00:00\.000Z$/), invocations: 1, throttles: 1 },
      { version: "1", invocations: 2 },
    ])
    const absent = await runToEnd(torpor("functions", "usage", "nobody"), environment)
    expect([absent.code, absent.stderr]).toEqual([1, expect.stringContaining("Function not found")])
  })
})
