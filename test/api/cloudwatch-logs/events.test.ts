import {
  paginateFilterLogEvents,
  type CloudWatchLogs,
  type GetLogEventsCommandInput,
} from "@aws-sdk/client-cloudwatch-logs"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { account, otherCredentials, refusalOf, region } from "../api-under-test.ts"
import { startArchive, type ArchiveUnderTest } from "./archive-under-test.ts"

const GROUP = "/aws/lambda-microvms/app"
const groupArn = `arn:aws:logs:${region}:${account}:log-group:${GROUP}`
/** One that two logs are in, which spoke at once; chunks of theirs overlap. */
const SHARED = "shared"
const ALONE = "alone"

interface Said {
  readonly at: number
  readonly text: string
  readonly stream: string
}

let archive: ArchiveUnderTest
let client: CloudWatchLogs
/** All that was said, in its order, by another way than the one that is tested. */
let said: Said[]
const inStream = (stream: string) => said.filter((one) => one.stream === stream)
const texts = (events: readonly { message?: string | undefined }[] | undefined) => events?.map(({ message }) => message)
const textsOf = (some: readonly Said[]) => some.map(({ text }) => text)

beforeAll(async () => {
  archive = await startArchive()
  client = archive.client()
  const streams = new Map<string, string>()
  for (const stream of [SHARED, SHARED, ALONE]) streams.set(await archive.begin(GROUP, stream), stream)
  // Rounds of their own rows, then one long one that is many rows at once.
  for (let round = 0; round < 12; round++)
    for (const [id, stream] of streams) await archive.say(id, ...lines(round, stream, id, round % 4))
  await Promise.all([...streams].map(([id, stream]) => archive.say(id, ...lines(99, stream, id, 600))))
  const all = []
  for (const [id, stream] of streams)
    for (const { at, text, line } of (await archive.logs.reader(id).read(0, 1e6)).entries)
      all.push({ at: Date.parse(at), text, stream, id, line })
  said = all.toSorted(
    (one, other) => one.at - other.at || (one.id < other.id ? -1 : one.id > other.id ? 1 : one.line - other.line),
  )
})
afterAll(() => archive?.[Symbol.asyncDispose]())

const lines = (round: number, stream: string, id: string, count: number) =>
  Array.from(
    { length: count },
    (_, index) => `${stream} ${id.slice(0, 4)} ${round}.${index} ${"x".repeat(index % 400)}`,
  )

const pagesOf = async (input: Partial<GetLogEventsCommandInput>, by: "nextForwardToken" | "nextBackwardToken") => {
  const pages: (string | undefined)[][] = []
  let token: string | undefined
  for (;;) {
    const page = await client.getLogEvents({
      logGroupName: GROUP,
      logStreamName: SHARED,
      ...input,
      ...(token === undefined ? {} : { nextToken: token }),
    })
    if (page[by] === token) {
      expect(page.events).toEqual([])
      return pages
    }
    pages.push(texts(page.events) ?? [])
    token = page[by]
  }
}

describe("GetLogEvents", () => {
  test("reads a stream on from its head until a token comes back as it was sent", async () => {
    for (const limit of [1000, 97]) {
      const pages = await pagesOf({ startFromHead: true, limit }, "nextForwardToken")
      expect(pages.flat()).toEqual(textsOf(inStream(SHARED)))
      for (const page of pages.slice(0, -2)) expect(page).toHaveLength(limit)
    }
  })

  test("reads it back from its end, each page in its order", async () => {
    for (const limit of [1000, 97]) {
      const pages = await pagesOf({ limit }, "nextBackwardToken")
      expect(pages.toReversed().flat()).toEqual(textsOf(inStream(SHARED)))
    }
  })

  test("goes either way from every page, and back from the end to what was last", async () => {
    const input = { logGroupIdentifier: groupArn, logStreamName: ALONE, limit: 5 }
    const all = textsOf(inStream(ALONE))
    const newest = await client.getLogEvents(input)
    expect(texts(newest.events)).toEqual(all.slice(-5))
    const before = await client.getLogEvents({ ...input, nextToken: newest.nextBackwardToken })
    expect(texts(before.events)).toEqual(all.slice(-10, -5))
    const again = await client.getLogEvents({ ...input, nextToken: before.nextForwardToken, startFromHead: true })
    expect(again.events).toEqual(newest.events)
    const end = await client.getLogEvents({ ...input, nextToken: again.nextForwardToken, startFromHead: true })
    expect([end.events, end.nextForwardToken]).toEqual([[], again.nextForwardToken])
    expect((await client.getLogEvents({ ...input, nextToken: end.nextBackwardToken })).events).toEqual(newest.events)
  })

  test("gets with the token of an end what is said later", async () => {
    const id = await archive.begin("/grows", "s")
    const input = { logGroupName: "/grows", logStreamName: "s", startFromHead: true }
    const empty = await client.getLogEvents(input)
    expect(empty.events).toEqual([])
    await archive.say(id, "one")
    const first = await client.getLogEvents({ ...input, nextToken: empty.nextForwardToken })
    expect(texts(first.events)).toEqual(["one"])
    await archive.say(id, "two", "")
    const second = await client.getLogEvents({ ...input, nextToken: first.nextForwardToken })
    expect(texts(second.events)).toEqual(["two", ""])
    const { timestamp = 0, ingestionTime = 0 } = second.events?.[0] ?? {}
    expect(Number.isInteger(timestamp) && Number.isInteger(ingestionTime)).toBe(true)
    expect(ingestionTime).toBeGreaterThanOrEqual(timestamp)
    expect(timestamp).toBeGreaterThanOrEqual(first.events?.[0]?.timestamp ?? Infinity)
  })

  test("takes a time's own millisecond at the start, and not at the end", async () => {
    const of = inStream(SHARED)
    const [startTime, endTime] = [of[10]!.at, of[50]!.at]
    const wanted = textsOf(of.filter(({ at }) => at >= startTime && at < endTime))
    for (const startFromHead of [true, false]) {
      const { events } = await client.getLogEvents({
        logGroupName: GROUP,
        logStreamName: SHARED,
        startTime,
        endTime,
        startFromHead,
      })
      expect(texts(events)).toEqual(wanted)
    }
    expect((await pagesOf({ startTime, endTime, limit: 7 }, "nextBackwardToken")).toReversed().flat()).toEqual(wanted)
  })

  test("answers no more than a mebibyte at once, and the rest with the next token", async () => {
    const id = await archive.begin("/long", "s")
    await archive.say(id, ...Array.from({ length: 200 }, (_, line) => `${line} ${"x".repeat(10_000)}`))
    const input = { logGroupName: "/long", logStreamName: "s", startFromHead: true }
    const first = await client.getLogEvents(input)
    expect(first.events).toHaveLength(Math.floor(2 ** 20 / 10_030))
    const second = await client.getLogEvents({ ...input, nextToken: first.nextForwardToken })
    expect(second.events?.[0]?.message).toMatch(new RegExp(`^${first.events?.length} `))
  })

  test("knows nothing of another account's, and refuses a token that is none", async () => {
    const input = { logGroupName: GROUP, logStreamName: ALONE }
    const other = archive.client({ credentials: otherCredentials })
    expect((await refusalOf(other.getLogEvents(input))).message).toBe("The specified log group does not exist.")
    expect(await refusalOf(client.getLogEvents({ ...input, logStreamName: "none" }))).toEqual({
      name: "ResourceNotFoundException",
      message: "The specified log stream does not exist.",
      status: 400,
    })
    for (const nextToken of ["f/1", "x/".padEnd(64, "0"), `f/${"9".repeat(62)}`, "f/"])
      expect(await refusalOf(client.getLogEvents({ ...input, nextToken }))).toEqual({
        name: "InvalidParameterException",
        message: "The specified nextToken is invalid.",
        status: 400,
      })
  })
})

describe("FilterLogEvents", () => {
  const filter = async (input: Partial<Parameters<CloudWatchLogs["filterLogEvents"]>[0]>, pageSize?: number) => {
    const events = []
    for await (const page of paginateFilterLogEvents(
      { client, ...(pageSize === undefined ? {} : { pageSize }) },
      { logGroupName: GROUP, ...input },
    ))
      events.push(...(page.events ?? []))
    return events
  }

  test("reads all streams of a group in the order of time, and names each event", async () => {
    const events = await filter({}, 250)
    expect(events.map(({ timestamp, message, logStreamName }) => [timestamp, message, logStreamName])).toEqual(
      said.map(({ at, text, stream }) => [at, text, stream]),
    )
    expect(new Set(events.map(({ eventId }) => eventId)).size).toBe(said.length)
    expect(events[0]?.eventId).toMatch(/^\d+$/)
  })

  test("reads those that are named, or begin alike", async () => {
    const alone = textsOf(inStream(ALONE))
    expect(texts(await filter({ logStreamNames: [ALONE] }))).toEqual(alone)
    expect(texts(await filter({ logStreamNamePrefix: "al" }))).toEqual(alone)
    expect(texts(await filter({ logStreamNames: [ALONE, SHARED, ALONE] }))).toHaveLength(said.length)
    expect(texts(await filter({ logStreamNamePrefix: "%" }))).toEqual([])
    expect((await refusalOf(filter({ logStreamNames: [ALONE, "none"] }))).name).toBe("ResourceNotFoundException")
    expect((await refusalOf(filter({ logStreamNames: [ALONE], logStreamNamePrefix: "a" }))).name).toBe(
      "InvalidParameterException",
    )
  })

  test("finds what its pattern says, page by page, from either end", async () => {
    const wanted = textsOf(said.filter(({ text }) => text.includes("shared") && text.includes(".1 ")))
    const input = { filterPattern: 'shared ".1 "' }
    expect(wanted.length).toBeGreaterThan(3)
    expect(texts(await filter(input))).toEqual(wanted)
    expect(texts(await filter(input, 2))).toEqual(wanted)
    const back = { ...input, startFromHead: false, startTime: Date.UTC(2024, 0, 1) }
    expect(texts(await filter(back, 2))).toEqual(wanted.toReversed())
    expect((await refusalOf(filter({ ...back, startTime: 1 }))).name).toBe("InvalidParameterException")
  })

  test("takes both ends of its time", async () => {
    const [startTime, endTime] = [said[20]!.at, said[60]!.at]
    expect(texts(await filter({ startTime, endTime }, 11))).toEqual(
      textsOf(said.filter(({ at }) => at >= startTime && at <= endTime)),
    )
  })

  test("gives up on a long search after a while, with a token to go on", async () => {
    const id = await archive.begin("/haystack", "s")
    // As much at once as a writer holds.
    for (let part = 0; part < 3; part++) await archive.say(id, ...Array.from({ length: 400 }, () => "x".repeat(10_000)))
    await archive.say(id, "needle")
    const first = await client.filterLogEvents({ logGroupName: "/haystack", filterPattern: "needle" })
    expect([first.events, typeof first.nextToken]).toEqual([[], "string"])
    expect(texts(await filter({ logGroupName: "/haystack", filterPattern: "needle" }))).toEqual(["needle"])
  })

  test("refuses a pattern and a token that are none", async () => {
    expect(await refusalOf(filter({ filterPattern: "%a%" }))).toEqual({
      name: "InvalidParameterException",
      message: "Invalid filter pattern: Torpor does not match regular expressions (%...%).",
      status: 400,
    })
    expect((await refusalOf(filter({ nextToken: "x" }))).message).toBe("The specified nextToken is invalid.")
  })
})
