import { spawn } from "node:child_process"
import { once } from "node:events"
import { connect, type Socket } from "node:net"
import { expect, test } from "vitest"
import { openTestEdge } from "./test-edge.ts"

/** Listens, and says where. The fewest connections wait to be taken that a kernel allows. */
const APP = `
  const server = require("node:http").createServer((request, response) => response.end("late"))
  server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => console.log(server.address().port))`

test("A guest that takes no connection fails a request in as long as is set, and answers one that may wait once it does", async () => {
  await using opened = new AsyncDisposableStack()
  const app = spawn(process.execPath, ["-e", APP], { stdio: ["ignore", "pipe", "inherit"] })
  opened.defer(() => void app.kill("SIGKILL"))
  const [line] = (await once(app.stdout, "data")) as [Buffer]
  const port = Number(line.toString())
  app.kill("SIGSTOP")
  const waiting: Socket[] = []
  opened.defer(() => {
    for (const socket of waiting) socket.destroy()
  })
  // One after the other, until one is left without an answer to its SYN.
  for (let isTaken = true; isTaken;) {
    const socket = connect(port, "127.0.0.1").on("error", () => {})
    waiting.push(socket)
    isTaken = await Promise.race([
      once(socket, "connect").then(() => true),
      new Promise<false>((resolve) => setTimeout(resolve, 500, false)),
    ])
  }
  const impatient = opened.use(await openTestEdge({ connectTimeoutSeconds: 1 }))
  const patient = opened.use(await openTestEdge({ connectTimeoutSeconds: 600 }))
  const patience = patient.get({ port })
  const { status, headers } = await impatient.get({ port })
  expect([status, headers["x-aws-proxy-error"]]).toEqual([502, "APP_CONNECT_FAILED"])
  app.kill("SIGCONT")
  expect(await patience).toMatchObject({ status: 200, body: "late" })
})
