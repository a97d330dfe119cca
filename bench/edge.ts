/** What the edge itself costs: beside nginx, beside the least that Node can do, and beside nobody at all. */
import { openArena, LOAD_CORE, type Arena } from "./edge/arena.ts"
import type { Bench } from "./bench.ts"
import type { Kind } from "./edge/contestant.ts"
import { runClient } from "./edge/client.ts"
import { askGuest } from "./edge/guest.ts"
import { download, h2load, upload, wrk, type Driven, type Rate } from "./edge/load.ts"
import { LARGE_MIB } from "./edge/nginx.ts"
import { notes } from "./edge/notes.ts"
import { checkPrograms } from "./edge/programs.ts"
import { busyPercent } from "./edge/quiet.ts"
import { restartDaemon } from "./edge/restart.ts"
import { summarise, type Unit } from "./samples.ts"

/** Short turns, taken often: what else a machine does falls on everyone alike. The handshakes of 64 connections are a small part of each. */
const ROUNDS = 5
const WARM_UP_SECONDS = 5
const SECONDS = 3
const PACED = { count: 1500, rate: 1000 }
const MESSAGES = 1000
const WEBSOCKETS = 5000
const QUIET_PERCENT = 10
const RESTART = "a restart, to a VM's answer"

export const edge: Bench = {
  summary:
    "the edge beside nginx and bare Node: latency, throughput, large bodies, WebSockets; a VM behind it, and a restart",
  claims: [
    { of: "added latency, p50", most: 0.5 },
    { of: "added latency, p99", most: 2 },
    { of: "HTTP/1.1: edge", by: "HTTP/1.1: nginx", least: 0.4 },
    { of: "HTTP/1.1: edge", by: "HTTP/1.1: bare Node", least: 0.5 },
    { of: "HTTP/2: edge", by: "HTTP/2: nginx", least: 0.1 },
    { of: "down: edge", by: "down: nginx", least: 0.7 },
    { of: "up: edge", by: "up: nginx", least: 0.7 },
    { of: `${WEBSOCKETS} idle WebSockets`, most: 250 },
    { of: "WebSocket echo: edge", by: "WebSocket echo: direct", most: 1.3 },
    { of: "WebSocket echo: edge", by: "WebSocket echo: nginx", most: 1.3 },
    { of: RESTART, most: 1000 },
    { of: "a VM's answer: edge", by: "a VM's answer: direct", most: 1.3 },
    { of: "a VM's WebSocket echo: edge", by: "a VM's WebSocket echo: direct", most: 1.3 },
  ],
  notes,
  async run({ daemon, progress }) {
    await checkPrograms()
    const found: Record<string, { unit: Unit; values: number[] }> = {}
    const add = (name: string, unit: Unit, value: number) => {
      const samples = (found[name] ??= { unit, values: [] })
      samples.values.push(value)
      progress(`edge: ${name} ${value.toFixed(2)} ${unit}`)
    }
    const busy = await busyPercent()
    if (busy > QUIET_PERCENT)
      progress(`edge: this machine is ${busy.toFixed(0)} % busy with other work: what follows is disturbed`)

    await using stack = new AsyncDisposableStack()
    const arena = await openArena(stack)
    for (const way of [arena.node, arena.edge]) await wrk(way, LOAD_CORE, WARM_UP_SECONDS)
    for (let round = 1; round <= ROUNDS; round++) {
      progress(`edge: round ${round} of ${ROUNDS}`)
      await latency(arena, add)
      await throughput(arena, add)
      await echoes(arena, add)
    }
    for (const [name, kind] of [
      [`${WEBSOCKETS} idle WebSockets`, "edge"],
      [`${WEBSOCKETS} idle WebSockets of bare Node`, "node"],
    ] as const)
      add(name, "MiB", await idleWebSockets(arena, kind))

    for (const [name, values] of Object.entries(await askGuest(daemon))) found[name] = { unit: "ms", values }
    found[RESTART] = { unit: "ms", values: await restartDaemon(daemon) }
    return found
  },
}

type Add = (name: string, unit: Unit, value: number) => void

const latency = async ({ ca, direct, edge: ours, node, nginx }: Arena, add: Add) => {
  const ask = async (to: Parameters<typeof runClient>[2]["to"]) =>
    summarise({ unit: "ms", values: await runClient("pace", LOAD_CORE, { to, ca, ...PACED }) })
  const [alone, through, bare, native] = [await ask(direct.app), await ask(ours), await ask(node), await ask(nginx)]
  for (const rank of ["p50", "p99"] as const) {
    add(`direct latency, ${rank}`, "ms", alone[rank])
    add(`added latency, ${rank}`, "ms", through[rank] - alone[rank])
    add(`added latency of bare Node, ${rank}`, "ms", bare[rank] - alone[rank])
    add(`added latency of nginx, ${rank}`, "ms", native[rank] - alone[rank])
  }
}

const throughput = async ({ nginx, node, edge: ours, caFile, largeFile, toEcho }: Arena, add: Add) => {
  const ways = { nginx, "bare Node": node, edge: ours }
  const rates: Record<string, (way: Driven) => Promise<Rate>> = {
    "HTTP/1.1": (way) => wrk(way, LOAD_CORE, SECONDS),
    down: (way) => download(way, LOAD_CORE, caFile, LARGE_MIB),
    up: (way) => upload(toEcho(way), LOAD_CORE, caFile, largeFile, LARGE_MIB),
  }
  for (const [what, rateOf] of Object.entries(rates))
    for (const [who, way] of Object.entries(ways)) {
      const { perSecond, microseconds } = await rateOf(way)
      add(`${what}: ${who}`, what === "HTTP/1.1" ? "requests/s" : "MiB/s", perSecond)
      add(`${what}: ${who}, processor time`, "µs", microseconds)
    }
  for (const [who, way] of Object.entries({ nginx, edge: ours }))
    add(`HTTP/2: ${who}`, "requests/s", (await h2load(way, LOAD_CORE, SECONDS)).perSecond)
}

const echoes = async ({ ca, direct, nginx, node, edge: ours, toEcho }: Arena, add: Add) => {
  const ways = { direct: direct.echo, nginx, "bare Node": node, edge: ours }
  for (const [who, way] of Object.entries(ways)) {
    const values = await runClient("echo", LOAD_CORE, { to: toEcho(way), ca, count: MESSAGES })
    add(`WebSocket echo: ${who}`, "ms", summarise({ unit: "ms", values }).p50)
  }
}

/** How much more a proxy of its own holds with them than before. */
const idleWebSockets = async (
  { ca, startAlone, toEcho, edge: { host, headers } }: Arena,
  kind: Kind,
): Promise<number> => {
  await using alone = await startAlone(kind)
  const to = toEcho(kind === "edge" ? alone : { ...alone, host, headers })
  // What is loaded and compiled at the first ones is not theirs.
  await runClient("hold", LOAD_CORE, { to, ca, count: 100 })
  const before = await alone.memoryMiB()
  let after = Number.NaN
  await runClient("hold", LOAD_CORE, { to, ca, count: WEBSOCKETS }, async () => void (after = await alone.memoryMiB()))
  return after - before
}
