/** `npm run bench [NAME …] [-- --json] [-- --rounds N]`: one real daemon, one image, and what the README claims, measured side by side. */
import { execFileSync } from "node:child_process"
import { cpus, totalmem } from "node:os"
import { parseArgs } from "node:util"
import { startTestDaemon } from "../test/fixtures/daemon.ts"
import { benchApp } from "./app.ts"
import type { Bench, Claim } from "./bench.ts"
import { boots } from "./boots.ts"
import { builds } from "./builds.ts"
import { deltas } from "./deltas.ts"
import { edge } from "./edge.ts"
import { functionsIntake } from "./functions-intake.ts"
import { functions } from "./functions.ts"
import { idle } from "./idle.ts"
import { life } from "./life.ts"
import { suspends } from "./suspends.ts"
import { summarise, timed, type Samples, type Summary } from "./samples.ts"

const benches: Readonly<Record<string, Bench>> = {
  life,
  boots,
  deltas,
  idle,
  builds,
  suspends,
  edge,
  functions,
  "functions-intake": functionsIntake,
}

const usage = `Usage: npm run bench [NAME …] [-- --json] [-- --rounds N]

${Object.entries(benches)
  .map(([name, { summary }]) => `  ${name.padEnd(16)} ${summary}`)
  .join("\n")}

Without a name all of them run. --rounds is how often \`life\` is lived (30). --json prints only the last line, one JSON object.`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string", default: "30" },
    help: { type: "boolean", short: "h", default: false },
  },
})
const refuse = (why: string): never => {
  process.stderr.write(`${why}\n\n${usage}\n`)
  process.exit(2)
}
if (values.help) {
  process.stdout.write(`${usage}\n`)
  process.exit(0)
}
const rounds = Number(values.rounds)
if (!Number.isInteger(rounds) || rounds < 1) refuse("--rounds must be a whole number from 1.")
const chosen = (positionals.length === 0 ? Object.keys(benches) : positionals).map(
  (name) => benches[name] ?? refuse(`There is no bench '${name}'.`),
)

const print = (line: string) => void (values.json || process.stdout.write(`${line}\n`))
const progress = (line: string) => void process.stderr.write(`${line}\n`)

/** Which claims the medians bear out, as lines. */
const judge = (claim: Claim, results: Readonly<Record<string, Summary>>): string => {
  const { of, by } = claim
  const missing = [of, by].find((name) => name !== undefined && results[name] === undefined)
  if (missing !== undefined) return `skip ${of}: nothing was measured of ${missing}`
  const first = results[of]?.p50 ?? Number.NaN
  const value = by === undefined ? first : first / (results[by]?.p50 ?? Number.NaN)
  // What is to be a small part of another is shown as one.
  const isPart = by !== undefined && "most" in claim && claim.most <= 1 / 2
  const [isTrue, limit] =
    "most" in claim
      ? [value <= claim.most, `at most ${isPart ? `1/${Math.round(1 / claim.most)}` : claim.most}`]
      : [value >= claim.least, `at least ${claim.least}`]
  const shown = isPart ? `1/${(1 / value).toFixed(1)}` : value.toFixed(2)
  const what = by === undefined ? of : `${of} ÷ ${by}`
  return `${isTrue ? "ok  " : "MISS"} ${what.padEnd(54)} ${shown} (${limit})`
}

await using opened = new AsyncDisposableStack()
let interruption: Promise<never> | undefined
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)
  // A terminal says it to npm as well, which says it again.
  process.on(signal, () => {
    if (interruption !== undefined) return
    progress("Interrupted: ending what was begun")
    interruption = opened.disposeAsync().then(
      () => process.exit(code),
      (error: unknown) => {
        console.error(error)
        process.exit(1)
      },
    )
  })
/** What fails because it is being ended says nothing, and waits for the end. */
const unlessInterrupted = <Result>(work: Promise<Result>): Promise<Result> =>
  work.catch(async (error: unknown) => {
    await interruption
    throw error
  })
const daemon = opened.use(
  await unlessInterrupted(
    startTestDaemon(
      {},
      // As a daemon has it by default, which tests don't; but what stands ready is for three runtimes, which take turns.
      { readyTimeoutSeconds: 300, spares: { max: 6 }, environments: { maxWarmVms: 3, versionSnapshots: {} } },
    ),
  ),
)
const samples: Record<string, Samples[string]> = {
  build: { unit: "ms", values: [await unlessInterrupted(timed(() => daemon.build("bench", benchApp)))] },
}
for (const bench of chosen)
  Object.assign(samples, await unlessInterrupted(bench.run({ daemon, rounds, progress, opened })))

const results = Object.fromEntries(Object.entries(samples).map(([name, found]) => [name, summarise(found)]))
for (const [name, { unit, n, p50, p95, p99 }] of Object.entries(results))
  print(`${name.padEnd(36)} n ${String(n).padEnd(3)} p50 ${p50}  p95 ${p95}  p99 ${p99}  ${unit}`)
for (const claim of chosen.flatMap(({ claims }) => claims)) print(judge(claim, results))
for (const note of chosen.flatMap(({ notes = [] }) => notes)) print(note)

const { accelerator } = (await (await fetch(`http://127.0.0.1:${daemon.apiPort}/healthz`)).json()) as {
  accelerator: string
}
const machine = `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, ${Math.round(totalmem() / 1024 ** 3)} GiB`
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim()
process.stdout.write(`${JSON.stringify({ machine, accelerator, commit, results })}\n`)
