/** The same few numbers through a real MicroVM, and to its application without the edge: what is the guest's part. */
import { readFile } from "node:fs/promises"
import { TerminateMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import type { TestDaemon } from "../../test/fixtures/daemon.ts"
import { LOAD_CORE } from "./arena.ts"
import { runClient } from "./client.ts"

const ROUNDS = 3
const [REQUESTS, MESSAGES] = [100, 100]
/** Requests each second: what an emulated guest can keep. */
const RATE = 10

/** In ms, by what was asked: a request or a message of a WebSocket, straight from the guest over plain TCP or through the edge. */
export type GuestTimes = Readonly<Record<string, number[]>>

/** Asks a MicroVM by turns. */
export const askGuest = async (daemon: TestDaemon): Promise<GuestTimes> => {
  const vm = await daemon.run({ image: "bench" })
  try {
    const { status } = await vm.get("/")
    if (status !== 200) throw new Error(`The MicroVM answered ${status}`)
    const host = vm.name.replace(/:\d+$/, "")
    const ways = {
      direct: { to: { host, port: 8080, address: await addressOfGuest(), headers: {} } },
      edge: { to: { host, port: daemon.edgePort, headers: { "X-aws-proxy-auth": vm.token } }, ca: daemon.ca },
    }
    const found: Record<string, number[]> = {}
    for (let round = 0; round < ROUNDS; round++)
      for (const [who, way] of Object.entries(ways)) {
        const requests = await runClient("pace", LOAD_CORE, { ...way, count: REQUESTS, rate: RATE })
        const messages = await runClient("echo", LOAD_CORE, { ...way, count: MESSAGES })
        ;(found[`a VM's answer: ${who}`] ??= []).push(...requests)
        ;(found[`a VM's WebSocket echo: ${who}`] ??= []).push(...messages)
      }
    return found
  } finally {
    vm.close()
    await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.id }))
    await daemon.untilState(vm.id, "TERMINATED")
  }
}

/** The edge's kept connection tells where the only MicroVM is: the one connection of this host to port 8080 of another address. */
const addressOfGuest = async (): Promise<string> => {
  const lines = (await readFile("/proc/net/tcp", "utf8")).split("\n").slice(1)
  const remotes = lines
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , remote = "", state]) => remote.endsWith(":1F90") && state === "01" && !remote.startsWith("0100007F"))
    .map(([, , remote = ""]) => remote.slice(0, 8))
  const [address] = new Set(remotes)
  if (address === undefined) throw new Error("The edge holds no connection to the guest")
  return (address.match(/../g) ?? [])
    .toReversed()
    .map((byte) => Number.parseInt(byte, 16))
    .join(".")
}
