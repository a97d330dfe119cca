/** What a user waits for, side by side with the same application booted cold and started by runc. */
import { setTimeout as sleep } from "node:timers/promises"
import {
  CreateMicrovmAuthTokenCommand,
  GetMicrovmCommand,
  RunMicrovmCommand,
  SuspendMicrovmCommand,
  TerminateMicrovmCommand,
} from "@aws-sdk/client-lambda-microvms"
import { createEndpoint, type Endpoint } from "../src/cli/endpoint.ts"
import { arnOf, type TestDaemon } from "../test/fixtures/daemon.ts"
import type { Bench } from "./bench.ts"
import { openColdBoots } from "./cold-boot.ts"
import { openRunc } from "./runc.ts"
import { timed } from "./samples.ts"

/** Between two looks at a state, or at the log. */
const PAUSE_MS = 10

export const life: Bench = {
  summary: "launch, suspend and wake through the SDK and the edge, beside a cold boot and runc",
  claims: [
    { of: "launch to first answer", by: "runc to first answer", most: 1.3 },
    { of: "launch to first answer", by: "cold boot to first answer", most: 1 / 15 },
    { of: "wake to answer", by: "runc to first answer", most: 1.3 },
    { of: "wake from disk to answer", by: "runc to first answer", most: 1.3 },
    { of: "suspend", by: "cold boot to first answer", most: 1 / 40 },
  ],
  async run({ daemon, rounds, progress, opened }) {
    const boots = opened.use(await openColdBoots(daemon, 1))
    const runc = opened.use(await openRunc())
    const found = {
      "cold boot to first answer": [] as number[],
      "runc to first answer": [] as number[],
      "launch to first answer": [] as number[],
      "answer while awake": [] as number[],
      suspend: [] as number[],
      "wake to answer": [] as number[],
      "wake from disk to answer": [] as number[],
    }
    for (let round = 1; round <= rounds; round++) {
      found["cold boot to first answer"].push(await boots.boot())
      found["runc to first answer"].push(await runc.start())
      const one = await oneLife(daemon)
      for (const [name, tookMs] of Object.entries(one)) found[name as keyof typeof one].push(tookMs)
      const last = Object.entries(found).map(([name, values]) => `${name} ${values.at(-1)?.toFixed(0)}`)
      progress(`life: round ${round} of ${rounds}: ${last.join(", ")}`)
    }
    return Object.fromEntries(Object.entries(found).map(([name, values]) => [name, { unit: "ms" as const, values }]))
  },
}

const oneLife = async (daemon: TestDaemon) => {
  const { client } = daemon
  let microvmIdentifier = ""
  let endpoint: Endpoint | undefined
  let count = 0
  const answer = async () => {
    const { status, body } = (await endpoint?.get("/")) ?? { status: 0, body: "" }
    if (status !== 200 || (JSON.parse(body) as { count: number }).count !== ++count)
      throw new Error(`The MicroVM answered ${status}: ${body}`)
  }
  const suspend = async () => {
    await client.send(new SuspendMicrovmCommand({ microvmIdentifier }))
    // At an even pace: one that slows down would be most of what is measured.
    while ((await client.send(new GetMicrovmCommand({ microvmIdentifier }))).state !== "SUSPENDED")
      await sleep(PAUSE_MS)
  }
  try {
    const found = {
      "launch to first answer": await timed(async () => {
        const vm = await client.send(new RunMicrovmCommand({ imageIdentifier: arnOf("bench") }))
        microvmIdentifier = vm.microvmId ?? ""
        const { authToken } = await client.send(
          new CreateMicrovmAuthTokenCommand({
            microvmIdentifier,
            expirationInMinutes: 5,
            allowedPorts: [{ port: 8080 }],
          }),
        )
        endpoint = createEndpoint(vm.endpoint ?? "", authToken?.["X-aws-proxy-auth"] ?? "", daemon.ca)
        await answer()
      }),
      "answer while awake": await timed(answer),
      suspend: await timed(suspend),
      "wake to answer": await timed(answer),
    }
    const since = daemon.lines.length
    await suspend()
    await sleepOnDisk(daemon, since)
    return { ...found, "wake from disk to answer": await timed(answer) }
  } finally {
    endpoint?.close()
    await client.send(new TerminateMicrovmCommand({ microvmIdentifier }))
    await daemon.untilState(microvmIdentifier, "TERMINATED")
  }
}

/** Ends the process that was kept of the MicroVM that fell asleep behind so many lines of the log. */
const sleepOnDisk = async ({ lines }: TestDaemon, since: number) => {
  const said = async (message: string) => {
    for (;;) {
      const line = lines.slice(since).find((one) => one.includes(message))
      if (line !== undefined) return JSON.parse(line) as { pid: number }
      await sleep(PAUSE_MS)
    }
  }
  process.kill((await said("A sleeping VM's process is kept")).pid, "SIGKILL")
  await said("A sleeping VM's process is gone")
}
