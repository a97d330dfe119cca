/** `npm run bench [-- --json] [-- --rounds N]`: one real daemon, one image, and what a user waits for, measured through the SDK and the edge. */
import { execFileSync } from "node:child_process"
import { cpus, totalmem } from "node:os"
import { parseArgs } from "node:util"
import { SuspendMicrovmCommand, TerminateMicrovmCommand } from "@aws-sdk/client-lambda-microvms"
import { inspectorApp } from "../test/fixtures/app.ts"
import { startTestDaemon } from "../test/fixtures/daemon.ts"
import { summarise, timed } from "./samples.ts"

const { values } = parseArgs({ options: { json: { type: "boolean" }, rounds: { type: "string", default: "30" } } })
const rounds = Number(values.rounds)
if (!Number.isInteger(rounds) || rounds < 1) throw new Error("--rounds must be a whole number from 1")

const samples = {
  build: [],
  "launch to first answer": [],
  "answer while awake": [],
  suspend: [],
  "wake to answer": [],
} as {
  [Name in "build" | "launch to first answer" | "answer while awake" | "suspend" | "wake to answer"]: number[]
}
await using daemon = await startTestDaemon()
samples.build.push(await timed(() => daemon.build("bench", inspectorApp)))
for (let round = 1; round <= rounds; round++) {
  let vm: Awaited<ReturnType<typeof daemon.run>> | undefined
  const answer = async () => {
    const { status, body } = (await vm?.get("/count")) ?? { status: 0, body: "" }
    if (status !== 200) throw new Error(`The MicroVM answered ${status}: ${body}`)
  }
  samples["launch to first answer"].push(
    await timed(async () => {
      vm = await daemon.run({ image: "bench" })
      await answer()
    }),
  )
  if (vm === undefined) throw new Error("No MicroVM was started")
  const { id } = vm
  samples["answer while awake"].push(await timed(answer))
  samples.suspend.push(
    await timed(async () => {
      await daemon.client.send(new SuspendMicrovmCommand({ microvmIdentifier: id }))
      await daemon.untilState(id, "SUSPENDED")
    }),
  )
  samples["wake to answer"].push(await timed(answer))
  vm.close()
  await daemon.client.send(new TerminateMicrovmCommand({ microvmIdentifier: id }))
  await daemon.untilState(id, "TERMINATED")
  process.stderr.write(`round ${round} of ${rounds}\n`)
}

const results = Object.fromEntries(Object.entries(samples).map(([name, all]) => [name, summarise(all)]))
if (values.json !== true)
  for (const [name, { n, p50, p95, p99 }] of Object.entries(results))
    console.log(`${name.padEnd(26)} n ${n}  p50 ${p50} ms  p95 ${p95} ms  p99 ${p99} ms`)
const { accelerator } = (await (await fetch(`http://127.0.0.1:${daemon.apiPort}/healthz`)).json()) as {
  accelerator: string
}
const machine = `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, ${Math.round(totalmem() / 1024 ** 3)} GiB`
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim()
console.log(JSON.stringify({ machine, accelerator, commit, results }))
