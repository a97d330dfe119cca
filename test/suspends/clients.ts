/** Clients that send requests at random moments, some of which they give up, and keep account of each. */
import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import type { ClientRequest, IncomingMessage } from "node:http"
import { Agent, request as send } from "node:https"
import { text } from "node:stream/consumers"
import { setTimeout as sleep } from "node:timers/promises"
import type { Random } from "../fixtures/random.ts"

export interface Door {
  /** With the edge's port. */
  readonly name: string
  readonly token: string
}

/** What became of the requests to one door, by their ids. */
export interface Account {
  readonly answered: string[]
  readonly givenUp: string[]
  /** With what was wrong. */
  readonly failed: string[]
}

/** In ms, at most. */
export interface Pace {
  /** Between two requests of one client. */
  readonly pause: number
  /** A rest that one of eight requests is followed by. */
  readonly rest: number
  readonly patience: number
}

const SMALL = randomBytes(4 * 1024)
const LARGE = randomBytes(128 * 1024)

/** One client that goes on until `over`; resolves when its last request has come to its end. */
export const runClient = async (
  { name, token }: Door,
  ca: string,
  random: Random,
  pace: Pace,
  account: Account,
  over: AbortSignal,
): Promise<void> => {
  const agent = new Agent({ ca, keepAlive: true, maxSockets: 4 })
  try {
    while (!over.aborted) {
      const id = crypto.randomUUID()
      const patience = random.below(5) === 0 ? random.below(pace.patience) : undefined
      const outcome = await exchange({ name, token, agent, id, random, patience })
      if (outcome === "answered") account.answered.push(id)
      else if (outcome === "given up") account.givenUp.push(id)
      else account.failed.push(`${id}: ${outcome}`)
      const pause = random.below(random.below(8) === 0 ? pace.rest : pace.pause)
      await sleep(pause, undefined, { signal: over }).catch(() => {})
    }
  } finally {
    agent.destroy()
  }
}

interface Exchange extends Door {
  readonly agent: Agent
  readonly id: string
  readonly random: Random
  /** When it is given up, in ms; never without. */
  readonly patience: number | undefined
}

const exchange = async ({ name, token, agent, id, random, patience }: Exchange): Promise<string> => {
  const { method, path, body, expected, describe } = planOf(id, random)
  const startedAt = performance.now()
  const request = send(`https://${name}${path}`, { method, agent, headers: { "x-aws-proxy-auth": token } })
  let isGivenUp = false
  const giveUp =
    patience === undefined
      ? undefined
      : setTimeout(() => {
          isGivenUp = true
          request.destroy()
        }, patience)
  const wrong = (what: string) => `${describe}, after ${Math.round(performance.now() - startedAt)} ms: ${what}`
  try {
    const answer = once(request, "response") as Promise<[IncomingMessage]>
    const writing = write(request, body)
    const [response] = await answer
    const got = await text(response)
    await writing
    if (response.statusCode !== 200)
      return wrong(`${response.statusCode} ${String(response.headers["x-aws-proxy-error"])} ${got}`)
    return got === expected ? "answered" : wrong(`answered ${got}`)
  } catch (error) {
    return isGivenUp ? "given up" : wrong(String(error))
  } finally {
    clearTimeout(giveUp)
  }
}

const write = async (request: ClientRequest, body: readonly Buffer[]) => {
  const [first, ...rest] = body
  if (first !== undefined) request.write(first)
  for (const piece of rest) {
    await sleep(5)
    if (!request.destroyed) request.write(piece)
  }
  request.end()
}

/** One of the kinds of requests that there are. */
const planOf = (id: string, random: Random) => {
  const kind = random.pick(["GET", "GET", "GET after a while", "POST", "POST in pieces", "stream"] as const)
  const ms = kind === "GET" ? 0 : random.below(40)
  const piecesOf = { POST: [random.pick([SMALL, LARGE])], "POST in pieces": [SMALL, LARGE, SMALL] } as const
  const body: readonly Buffer[] = kind === "POST" || kind === "POST in pieces" ? piecesOf[kind] : []
  if (body.length > 0) {
    const digest = createHash("sha1")
    for (const piece of body) digest.update(piece)
    return { method: "POST", path: `/take/${id}`, body, expected: `${id} ${digest.digest("hex")}`, describe: kind }
  }
  const pieces = kind === "stream" ? 4 : 1
  const expected = Array.from({ length: pieces }, (_, piece) => `${id} ${piece + 1}\n`).join("")
  const way = kind === "stream" ? "stream" : "once"
  return { method: "GET", path: `/${way}/${id}?ms=${ms}&pieces=${pieces}`, body, expected, describe: kind }
}

/** What is wrong with an account, by what the application saw; nothing when all is well. */
export const audited = ({ answered, givenUp, failed }: Account, seen: Readonly<Record<string, number>>): string[] => [
  ...failed,
  ...answered.filter((id) => seen[id] !== 1).map((id) => `${id}: answered, and seen ${seen[id] ?? 0} times`),
  ...givenUp.filter((id) => (seen[id] ?? 0) > 1).map((id) => `${id}: given up, and seen ${seen[id]} times`),
]
