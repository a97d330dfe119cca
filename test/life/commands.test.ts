import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { afterAll, beforeAll, expect, test } from "vitest"
import { PLAIN, runToEnd, torpor } from "../cli/torpor.ts"
import { freePort } from "../fixtures/free-port.ts"
import { startTestDaemon, type TestDaemon } from "../fixtures/daemon.ts"

const opened = new AsyncDisposableStack()
let daemon: TestDaemon
let directory: string
beforeAll(async () => {
  const buildArguments = { GREETING: "hello", HTTP_PROXY: "http://proxy.invalid" }
  daemon = opened.use(await startTestDaemon({}, { buildArguments }))
  directory = await mkdtemp(join(tmpdir(), "torpor-commands-"))
  opened.defer(() => rm(directory, { recursive: true }))
  await mkdir(join(directory, "hello"))
})
afterAll(() => opened.disposeAsync())

const environment = () => ({
  ...PLAIN,
  TORPOR_DATA_DIR: daemon.directory,
  TORPOR_API_PORT: String(daemon.apiPort),
  TORPOR_EDGE_PORT: String(daemon.edgePort),
})
const run = (...args: string[]) => runToEnd(torpor(...args), environment(), join(directory, "hello"))
const write = (name: string, text: string) => writeFile(join(directory, "hello", name), text)

const DOCKERFILE = `FROM torpor/debian:13 AS plain
WORKDIR /srv
ARG GREETING
RUN echo "$GREETING" > greeting && [ "$HTTP_PROXY" = http://proxy.invalid ] && printf '\\033[31mred\\n'
EXPOSE 8000
CMD python3 -m http.server
FROM plain AS loud
RUN tr a-z A-Z < greeting > louder && mv louder greeting
`

test("A directory is built, run, built again as its next version, and gives back what nothing needs", async () => {
  await write("Dockerfile", DOCKERFILE)
  const first = await run("build", "--target", "plain")
  expect(first).toMatchObject({ code: 0, stderr: "" })
  expect(first.stdout).toMatch(/^Uploading 1 file of .*\/hello, \d+ bytes packed\nBuilding hello, version 1\.0\n/)
  expect(first.stdout).toContain("\n#2 [31mred\n")
  expect(first.stdout).toContain("hello, version 1.0, is ready. Run it with\n\n  torpor run hello\n")

  const again = await run("build", ".", "--build-arg", "GREETING=good day")
  expect(again).toMatchObject({ code: 0, stderr: "" })
  expect(again.stdout).toContain("hello, version 2.0, is ready")

  const { code, stdout } = await run("run", "hello", "--port", "8000")
  expect(code, stdout).toBe(0)
  const curl = stdout.split("\n").find((line) => line.startsWith("  curl ")) ?? ""
  const greeting = () => execFileSync("sh", ["-c", `${curl}greeting`], { encoding: "utf8" })
  expect(greeting()).toBe("GOOD DAY\n")

  const usage = async () =>
    JSON.parse((await run("images", "df", "--json")).stdout) as {
      kind: string
      count: number
      reclaimableBytes: number
    }[]
  const layers = (await usage()).find(({ kind }) => kind === "layers")
  expect(layers).toMatchObject({ count: 4, reclaimableBytes: 0 })
  await write("Dockerfile", `FROM torpor/debian:13\nRUN head -c 5000000 /dev/urandom > /random\nRUN exit 3\nCMD true`)
  expect(await run("build", "-n", "failing")).toMatchObject({
    code: 1,
    stderr: "The build failed: Dockerfile line 3: RUN exit 3: exit code 3\n",
  })
  expect((await run("images", "df")).stdout).toMatch(/^build steps +5 +\d+\.\d MiB +\d\.\d MiB$/m)
  expect((await run("images", "prune")).stdout).toMatch(
    /^build steps: 1 removed, \d\.\d MiB\n(?:.*\n)*Reclaimed \d+\.\d [MG]iB\n$/,
  )
  expect((await usage()).find(({ kind }) => kind === "layers")).toEqual({ ...layers })

  // What runs of a version that is deleted runs on, from disk too.
  const [id = ""] = /microvm-[\w-]+/.exec((await run("ps")).stdout) ?? []
  expect(await run("images", "rm", "hello:2.0")).toMatchObject({ code: 0, stderr: "" })
  expect((await run("images", "ls", "hello")).stdout).toMatch(/^VERSION .*\n1\.0 +SUCCESSFUL .*\n$/)
  await run("suspend", id)
  await daemon.untilState(id, "SUSPENDED")
  await daemon.restart("SIGTERM")
  expect(greeting()).toBe("GOOD DAY\n")
  const refused = "Cannot delete microvm image with running microvms: see `torpor ps`; `torpor terminate` ends one.\n"
  expect(await run("images", "rm", "hello")).toMatchObject({ code: 1, stderr: refused })
  await run("terminate", id)
  await daemon.untilState(id, "TERMINATED")
  expect(await run("images", "rm", "hello")).toMatchObject({ code: 0, stdout: "hello is deleted\n" })
  expect((await usage()).find(({ kind }) => kind === "bases")).toMatchObject({ count: 0 })
})

test("A build that nobody waits for any more is cancelled", async () => {
  await write("Dockerfile", "FROM torpor/debian:13\nRUN echo now && sleep infinity\nCMD true")
  const [file = "", ...args] = torpor("build", "--name", "endless")
  const child = spawn(file, args, {
    env: environment(),
    cwd: join(directory, "hello"),
    stdio: ["ignore", "pipe", "inherit"],
  })
  const ended = once(child, "exit")
  for await (const line of createInterface({ input: child.stdout })) if (line === "#1 now") child.kill("SIGINT")
  expect((await ended)[0]).toBe(130)
  await expect(daemon.untilBuilt("endless")).rejects.toThrow(/^The build was cancelled by/)
})

test.each([
  [["build", "/nowhere"], /^\/nowhere is no directory: name the one that the Dockerfile is in\.\n$/],
  [["run", "nobody"], /^No active version found for MicroVM image .*:nobody: `torpor build` makes one/],
  [["build", "-m", "1"], /minimumMemoryInMiB/],
])("torpor %j fails in the words of who refuses it", async (args, sentence) => {
  const { code, stderr } = await run(...args)
  expect(code).toBe(1)
  expect(stderr).toMatch(sentence)
})

test("Without a daemon, and without its credentials, it is said what to do", async () => {
  const port = await freePort()
  const elsewhere = { ...environment(), TORPOR_API_PORT: String(port) }
  expect(await runToEnd(torpor("images", "df"), elsewhere)).toEqual({
    code: 1,
    stdout: "",
    stderr: `Nothing answers at http://127.0.0.1:${port} (ECONNREFUSED): start the daemon (\`torpor serve\`), or say where it is by TORPOR_API_ADDRESS and TORPOR_API_PORT.\n`,
  })
  const { stderr } = await runToEnd(torpor("images", "df"), { ...environment(), TORPOR_DATA_DIR: directory })
  expect(stderr).toMatch(
    /^There are no credentials: .*credentials\.json cannot be read \(ENOENT\)\. Start the daemon once/,
  )
})
