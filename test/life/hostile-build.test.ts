import { ListMicrovmImageBuildsCommand, TerminateMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import { networkInterfaces } from "node:os"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { signedSend } from "../api/signed-fetch.ts"
import { bodyOf } from "../fixtures/answers.ts"
import { arnOf, processesOf, REGION, startTestDaemon, type TestDaemon } from "../fixtures/daemon.ts"
import { eventually } from "../fixtures/eventually.ts"
import { rawZip } from "../images/raw-zip.ts"
import { buildOf } from "./build-result.ts"

const opened = new AsyncDisposableStack()
let daemon: TestDaemon
beforeAll(async () => void (daemon = opened.use(await startTestDaemon())))
afterAll(() => opened.disposeAsync())

const SERVER = `import http.server, os, subprocess
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = subprocess.run(["sh", "-c", os.environ["LOOK"]], capture_output=True, text=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write((found.stdout + found.stderr).encode())
http.server.HTTPServer(("", 8080), Handler).serve_forever()
`
const build = (name: string, lines: string[]) =>
  buildOf(daemon, name, {
    "server.py": SERVER,
    Dockerfile: ["FROM torpor/debian:13", ...lines, "COPY server.py /", 'CMD ["python3", "/server.py"]'].join("\n"),
  })

describe("A build step", () => {
  test("leaves device nodes that open nothing, and setuid files that are of use inside alone", async () => {
    const { reason, log } = await build("nodes", [
      "RUN mknod /disk b 254 0 && mknod /memory c 1 1 && cp /usr/bin/id /setuid && chmod u+s /setuid",
      "ENV LOOK='head -c 1 /disk; head -c 1 /memory; /setuid -u'",
      "USER nobody",
    ])
    expect(reason, log.join("\n")).toBeUndefined()
    const vm = await daemon.run({ image: "nodes" })
    try {
      const body = await bodyOf(daemon, vm, "/")
      expect(body).toContain("cannot open '/disk' for reading: Operation not permitted")
      expect(body).toContain("cannot open '/memory' for reading: Operation not permitted")
      expect(body.split("\n")[0]).toBe("0")
    } finally {
      vm.close()
      await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
    }
  })

  test("that would write garbage over its own disk, to crash who mounts it, doesn't reach the disk", async () => {
    const garbage = "mknod /dev/disk b 254 16 && dd if=/dev/urandom of=/dev/disk bs=1M count=64"
    const { reason } = await build("garbage", [`RUN ${garbage}`])
    expect(reason).toMatch(/failed to open '\/dev\/disk': Operation not permitted/)
  })

  test("that takes a file which isn't what its archive says fails, and nothing of it is taken", async () => {
    const archive = rawZip([
      { name: "Dockerfile", content: "FROM torpor/debian:13\nCOPY a /a\nCMD true\n" },
      { name: "a", content: "x", crc: 1 },
    ])
    await expect(daemon.buildArchive("lying", archive)).rejects.toThrow(
      /^The code artifact cannot be unpacked: a: ZIP bad CRC/,
    )
  })

  test("that sleeps for ever is given up when its build is cancelled, and its VM with it", async () => {
    const building = build("sleeping", ["RUN sleep infinity"])
    const { client, hostId, apiPort } = daemon
    const version = { imageIdentifier: arnOf("sleeping"), imageVersion: "1.0" }
    const buildId = await eventually(async () => {
      const { items } = await client.send(new ListMicrovmImageBuildsCommand(version))
      // A process is there once its VM is.
      expect(processesOf(hostId.slice(0, 8))).not.toEqual([])
      return items?.[0]?.buildId
    })
    const cancel = async () => {
      const path = `/torpor/v1/builds/${buildId}/cancel`
      return signedSend(apiPort, { method: "POST", path, region: REGION, ...(await client.config.credentials()) })
    }
    expect((await cancel()).status).toBe(202)
    expect((await building).reason).toMatch(/^The build was cancelled by [A-Z0-9]+\.$/)
    expect(processesOf(hostId.slice(0, 8))).toEqual([])
    const { status, text } = await cancel()
    expect(status, text).toBe(409)
  })

  test("reaches no address of the host, neither its services nor its networks", async () => {
    const own = Object.values(networkInterfaces())
      .flat()
      .flatMap((one) => (one?.family === "IPv4" ? [one.address] : []))
    const ports = [daemon.apiPort, daemon.edgePort, 22, 5432]
    const targets = [...new Set([...own, "169.254.169.254", "10.0.0.1"])].flatMap((address) =>
      ports.map((port) => `${address}:${port}`),
    )
    // Its own loopback is the guest's; every other one would answer, refuse or be silent by itself.
    const urls = targets.filter((target) => !target.startsWith("127.")).map((target) => `http://${target}/`)
    const probe = `curl -s --parallel --parallel-immediate --parallel-max 300 -m 10 -w '%{url} %{exitcode}\\n' ${urls.join(" ")} || true`
    const { reason, log } = await build("reaching", [`RUN ${probe}`])
    expect(reason, log.join("\n")).toBeUndefined()
    const answers = log.filter((line) => /^#1 http:\S+ \d+$/.test(line))
    expect(answers).toHaveLength(urls.length)
    // 7: refused; 28: no answer in time.
    expect(answers.filter((line) => !/ (7|28)$/.test(line))).toEqual([])
  })
})

test("A step and a build that take too long are given up, and who waits is told its place", async () => {
  await using slow = await startTestDaemon(
    {},
    { maxConcurrentBuilds: 1, stepTimeoutSeconds: 5, buildTimeoutSeconds: 40, readyTimeoutSeconds: 600 },
  )
  const files = (line: string) => ({ Dockerfile: ["FROM torpor/debian:13", line, "CMD sleep infinity"].join("\n") })
  const sleeping = buildOf(slow, "sleeping", files("RUN sleep infinity"))
  // A process is there once its VM is.
  await eventually(() => expect(processesOf(slow.hostId.slice(0, 8))).not.toEqual([]), { interval: 20 })
  // However slow the machine is, none of its steps is: nothing ever listens.
  const long = buildOf(slow, "long", files("EXPOSE 8080"))
  expect((await sleeping).reason).toBe(
    "Dockerfile line 2: RUN sleep infinity: took longer than 5 s, which is stepTimeoutSeconds of TORPOR_CONFIG",
  )
  const { reason, log } = await long
  expect(reason).toBe("The build took longer than 40 s, which is buildTimeoutSeconds of TORPOR_CONFIG")
  expect(log[0]).toBe("Waiting for its turn: it is the next")
  expect(processesOf(slow.hostId.slice(0, 8))).toEqual([])
})
