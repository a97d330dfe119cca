import {
  paginateDescribeLogGroups,
  paginateDescribeLogStreams,
  type CloudWatchLogs,
} from "@aws-sdk/client-cloudwatch-logs"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { account, otherCredentials, refusalOf, region } from "../api-under-test.ts"
import { startArchive, type ArchiveUnderTest } from "./archive-under-test.ts"

let archive: ArchiveUnderTest
let client: CloudWatchLogs
const GROUP = "/aws/lambda-microvms/app"
const groupArn = `arn:aws:logs:${region}:${account}:log-group:${GROUP}`
beforeAll(async () => {
  archive = await startArchive()
  client = archive.client()
  const first = await archive.begin(GROUP, "2026/01/31[1.0]microvm-b")
  await archive.say(first, "one", "two")
  await archive.begin(GROUP, "2026/01/31[1.0]microvm-a")
  const third = await archive.begin(GROUP, "2026/02/01[2.0]microvm-c")
  await archive.say(third, "three")
  await archive.shift(third, 5000)
  for (const name of ["/aws/lambda/Z", "/aws/lambda/a", "/mine"]) await archive.begin(name, "s")
  await archive.begin("/theirs", "s", { account: "111111111111" })
  await archive.begin("/elsewhere", "s", { region: "us-east-1" })
})
afterAll(() => archive?.[Symbol.asyncDispose]())

const namesOf = async (input: Parameters<CloudWatchLogs["describeLogGroups"]>[0] = {}) =>
  ((await client.describeLogGroups(input)).logGroups ?? []).map(({ logGroupName }) => logGroupName)

describe("DescribeLogGroups", () => {
  test("lists the account's groups of the region, in the order of their names' bytes", async () => {
    expect(await namesOf()).toEqual([GROUP, "/aws/lambda/Z", "/aws/lambda/a", "/mine"])
    const other = archive.client({ credentials: otherCredentials })
    expect((await other.describeLogGroups({})).logGroups).toMatchObject([
      { logGroupName: "/theirs", logGroupArn: `arn:aws:logs:${region}:111111111111:log-group:/theirs` },
    ])
    expect((await archive.client({ region: "us-east-1" }).describeLogGroups({})).logGroups).toHaveLength(1)
  })

  test("says of a group what it takes, and for how long it is kept", async () => {
    const before = Date.now()
    const { logGroups, nextToken } = await client.describeLogGroups({ logGroupNamePrefix: GROUP })
    expect(nextToken).toBeUndefined()
    expect(logGroups).toEqual([
      {
        arn: `${groupArn}:*`,
        creationTime: expect.any(Number) as number,
        logGroupArn: groupArn,
        logGroupClass: "STANDARD",
        logGroupName: GROUP,
        metricFilterCount: 0,
        retentionInDays: 7,
        storedBytes: expect.any(Number) as number,
      },
    ])
    expect(logGroups?.[0]?.storedBytes).toBeGreaterThan(0)
    expect(logGroups?.[0]?.creationTime).toBeGreaterThan(before - 3_600_000)
    expect(logGroups?.[0]?.creationTime).toBeLessThanOrEqual(before)
  })

  test("chooses by prefix, part, identifier, class and account", async () => {
    expect(await namesOf({ logGroupNamePrefix: "/aws/lambda/" })).toEqual(["/aws/lambda/Z", "/aws/lambda/a"])
    expect(await namesOf({ logGroupNamePattern: "LAMBDA/z" })).toEqual(["/aws/lambda/Z"])
    expect(await namesOf({ logGroupNamePrefix: "/aws_" })).toEqual([])
    expect(await namesOf({ logGroupIdentifiers: [groupArn, "/mine", "/none"] })).toEqual([GROUP, "/mine"])
    expect(await namesOf({ logGroupClass: "INFREQUENT_ACCESS" })).toEqual([])
    expect(await namesOf({ accountIdentifiers: ["111111111111"] })).toEqual([])
    expect(await refusalOf(namesOf({ logGroupNamePrefix: "a", logGroupNamePattern: "b" }))).toEqual({
      name: "InvalidParameterException",
      message: "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
      status: 400,
    })
  })

  test("comes in pages, each once, to who asked for them", async () => {
    const pages = paginateDescribeLogGroups({ client, pageSize: 3 }, {})
    const seen = []
    for await (const { logGroups } of pages) seen.push(logGroups?.map(({ logGroupName }) => logGroupName))
    expect(seen).toEqual([[GROUP, "/aws/lambda/Z", "/aws/lambda/a"], ["/mine"]])
    const { nextToken } = await client.describeLogGroups({ limit: 1 })
    const other = archive.client({ credentials: otherCredentials })
    for (const [who, input] of [
      [other, { nextToken }],
      [client, { nextToken, logGroupNamePrefix: "/" }],
      [client, { nextToken: "made up" }],
    ] as const)
      expect((await refusalOf(who.describeLogGroups(input))).name).toBe("InvalidParameterException")
  })
})

describe("DescribeLogStreams", () => {
  const streamsOf = async (input: Partial<Parameters<CloudWatchLogs["describeLogStreams"]>[0]> = {}) =>
    ((await client.describeLogStreams({ logGroupName: GROUP, ...input })).logStreams ?? []).map(({ logStreamName }) =>
      logStreamName?.slice(-1),
    )

  test("says when a stream began, and when anything was said in it", async () => {
    const { logStreams } = await client.describeLogStreams({ logGroupIdentifier: groupArn })
    const [silent, first, last] = logStreams ?? []
    expect(silent).toEqual({
      arn: `${groupArn}:log-stream:2026/01/31[1.0]microvm-a`,
      creationTime: expect.any(Number) as number,
      logStreamName: "2026/01/31[1.0]microvm-a",
      storedBytes: 0,
    })
    const at = first?.firstEventTimestamp ?? 0
    expect(at).toBeGreaterThan(1_700_000_000_000)
    expect(first?.lastEventTimestamp).toBeGreaterThanOrEqual(at)
    expect(first?.lastIngestionTime).toBeGreaterThanOrEqual(at)
    expect(last?.firstEventTimestamp).toBeGreaterThan(at + 4999)
  })

  test("orders by name or by the last event, from either end, and chooses by prefix", async () => {
    expect(await streamsOf()).toEqual(["a", "b", "c"])
    expect(await streamsOf({ descending: true })).toEqual(["c", "b", "a"])
    expect(await streamsOf({ orderBy: "LastEventTime" })).toEqual(["a", "b", "c"])
    expect(await streamsOf({ orderBy: "LastEventTime", descending: true })).toEqual(["c", "b", "a"])
    expect(await streamsOf({ logStreamNamePrefix: "2026/01/31[" })).toEqual(["a", "b"])
    expect((await refusalOf(streamsOf({ logStreamNamePrefix: "2026", orderBy: "LastEventTime" }))).message).toBe(
      "Cannot order by LastEventTime with a logStreamNamePrefix.",
    )
  })

  test.each([
    ["LogStreamName", false],
    ["LogStreamName", true],
    ["LastEventTime", false],
    ["LastEventTime", true],
  ] as const)("comes in pages by %s, descending: %s", async (orderBy, descending) => {
    const input = { logGroupName: GROUP, orderBy, descending }
    const seen = []
    for await (const { logStreams } of paginateDescribeLogStreams({ client, pageSize: 1 }, input))
      seen.push(...(logStreams ?? []).map(({ logStreamName }) => logStreamName?.slice(-1)))
    expect(seen).toEqual(await streamsOf({ orderBy, descending }))
  })

  test("knows no group of another account's or region's, by name or by ARN", async () => {
    for (const logGroupIdentifier of ["/theirs", "/elsewhere", groupArn.replace(account, "111111111111")])
      expect(await refusalOf(client.describeLogStreams({ logGroupIdentifier }))).toEqual({
        name: "ResourceNotFoundException",
        message: "The specified log group does not exist.",
        status: 400,
      })
  })

  test("refuses both names of a group, none, and an ARN of something else", async () => {
    for (const input of [
      {},
      { logGroupName: GROUP, logGroupIdentifier: GROUP },
      { logGroupIdentifier: `${groupArn}:*` },
    ])
      expect((await refusalOf(client.describeLogStreams(input))).name).toBe("InvalidParameterException")
  })
})
