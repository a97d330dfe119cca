/** Real clients, each as its own people wrote it, against real MicroVMs: one image, whose application speaks every protocol. */
import { SuspendMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, beforeAll, expect } from "vitest"
import { PLAIN, runToEnd, torpor } from "../cli/torpor.ts"
import { bodyOf } from "../fixtures/answers.ts"
import { ports } from "../fixtures/clients-app/ports.ts"
import { selfSigned } from "../fixtures/clients-app/self-signed.ts"
import { startTestDaemon, type TestDaemon } from "../fixtures/daemon.ts"
import { toGuestApp } from "../fixtures/guest-app.ts"
import { watchMemory } from "../fixtures/process-memory.ts"
import { describeBodies } from "./clients/bodies.ts"
import { describeBrowser } from "./clients/browser.ts"
import { describeCurl } from "./clients/curl.ts"
import { describeEvents } from "./clients/events.ts"
import { describeGrpc } from "./clients/grpc.ts"
import { describeGuests } from "./clients/guests.ts"
import { UNUSED_PORT, type Ground } from "./clients/ground.ts"
import { describeUndici } from "./clients/undici.ts"
import { describeWebSockets } from "./clients/websockets.ts"

const opened = new AsyncDisposableStack()
let daemon: TestDaemon
let ground: Ground
beforeAll(async () => {
  // All the clients' servers are a megabyte of JavaScript, which an emulated guest on a busy machine takes a minute to read.
  daemon = opened.use(await startTestDaemon({}, { readyTimeoutSeconds: 300 }))
  await daemon.build("clients", await toGuestApp("clients-app/main.ts", { "tls.pem": await selfSigned() }))
  const run = async () => {
    const vm = await daemon.run({ image: "clients" })
    await bodyOf(daemon, vm, "/empty")
    vm.close()
    return {
      id: vm.id,
      name: vm.name,
      token: await daemon.token(
        vm.id,
        [...Object.values(ports), UNUSED_PORT].map((port) => ({ port })),
      ),
    }
  }
  const [vm, neighbour] = await Promise.all([run(), run()])
  ground = {
    ca: daemon.ca,
    caFile: join(daemon.directory, "tls/ca.pem"),
    vm,
    neighbour,
    link: async (to, path) => {
      const { id } = to === "vm" ? vm : neighbour
      const { stdout, stderr } = await runToEnd(torpor("open", id, "--path", path), {
        ...PLAIN,
        TORPOR_DATA_DIR: daemon.directory,
        TORPOR_API_PORT: String(daemon.apiPort),
      })
      expect(stderr).toBe("")
      return stdout.trim()
    },
    sleep: async () => void (await daemon.client.send(new SuspendMicrovmCommand({ microvmIdentifier: vm.id }))),
    untilAsleep: async () => void (await daemon.untilState(vm.id, "SUSPENDED")),
    memory: async () => watchMemory(Number(await readFile(join(daemon.directory, "daemon.pid"), "utf8"))),
  }
})
afterAll(() => opened.disposeAsync())

for (const describeClient of [
  // First: a body is dearest to a daemon that has held nothing yet.
  describeBodies,
  describeCurl,
  describeUndici,
  describeEvents,
  describeWebSockets,
  describeGuests,
  describeGrpc,
  describeBrowser,
])
  describeClient(() => ground)
