import {
  CloudWatchLogs,
  DescribeLogGroupsRequest$,
  DescribeLogStreamsRequest$,
  FilterLogEventsRequest$,
  GetLogEventsRequest$,
} from "@aws-sdk/client-cloudwatch-logs"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import * as shapes from "../../../src/api/aws/cloudwatch-logs/shapes.ts"
import type { StructureShape } from "../../../src/api/aws/shape.ts"
import { credentials, refusalOf, startApi, type ApiUnderTest } from "../api-under-test.ts"
import { signedSend } from "../signed-fetch.ts"

let api: ApiUnderTest
beforeAll(async () => {
  api = await startApi()
})
afterAll(() => api?.[Symbol.asyncDispose]())

describe("An input of CloudWatch Logs", () => {
  test.each<[StructureShape, unknown]>([
    [shapes.describeGroupsInput, DescribeLogGroupsRequest$],
    [shapes.describeStreamsInput, DescribeLogStreamsRequest$],
    [shapes.getEventsInput, GetLogEventsRequest$],
    [shapes.filterEventsInput, FilterLogEventsRequest$],
  ])("%# has the members of the SDK's own, and requires what that requires", ({ members }, schema) => {
    // A structure in a schema: names in order, those that are required first, and how many those are.
    const [, , , , names, types, required = 0] = schema as [0, 0, 0, 0, string[], unknown[], number?]
    const kinds = new Map<unknown, string>([
      [0, "string"],
      [1, "integer"],
      [2, "boolean"],
      [64, "list"],
    ])
    expect(Object.fromEntries(Object.entries(members).map(([member, { shape }]) => [member, shape.kind]))).toEqual(
      Object.fromEntries(names.map((member, index) => [member, kinds.get(types[index])])),
    )
    const wanted = Object.entries(members).filter(([, member]) => member.required)
    expect(wanted.map(([member]) => member)).toEqual(names.slice(0, required))
  })

  test.each([
    [
      "describeLogGroups",
      { logGroupNamePrefix: "a b", limit: 51 },
      "2 validation errors detected: Value 'a b' at 'logGroupNamePrefix' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+; Value '51' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 50",
    ],
    [
      "getLogEvents",
      { logGroupName: "/a", logStreamName: "a:b", limit: 10_001, startTime: -1 },
      "3 validation errors detected: Value 'a:b' at 'logStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [^:*]*; Value '-1' at 'startTime' failed to satisfy constraint: Member must have value greater than or equal to 0; Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000",
    ],
    [
      "filterLogEvents",
      { logGroupName: "/a", logStreamNames: [], filterPattern: "x".repeat(1025) },
      /^2 validation errors detected: Value '\[\]' at 'logStreamNames' failed .* Value 'x+' at 'filterPattern' failed to satisfy constraint: Member must have length less than or equal to 1024$/,
    ],
  ] as const)("that is wrong is refused by %s with everything that is", async (call, input, message) => {
    const client = new CloudWatchLogs({ endpoint: api.url, region: "eu-central-1", credentials, maxAttempts: 1 })
    // What the SDK's types know to be wrong.
    const refused = await refusalOf((client[call] as (given: unknown) => Promise<unknown>)(input))
    client.destroy()
    expect(refused).toEqual({
      name: "InvalidParameterException",
      message: typeof message === "string" ? message : (expect.stringMatching(message) as string),
      status: 400,
    })
  })
})

describe("AWS JSON 1.1", () => {
  test("tells the SDK by AWS's name that an operation is not there, whatever its input", async () => {
    const client = new CloudWatchLogs({ endpoint: api.url, region: "eu-central-1", credentials, maxAttempts: 1 })
    const logGroupName = "/aws/lambda/f"
    const calls = [
      client.createLogGroup({ logGroupName }),
      client.createLogStream({ logGroupName, logStreamName: "s" }),
      client.putLogEvents({ logGroupName, logStreamName: "s", logEvents: [{ timestamp: 1, message: "said" }] }),
      client.putRetentionPolicy({ logGroupName, retentionInDays: 7 }),
      client.startQuery({ logGroupName, startTime: 1, endTime: 2, queryString: "fields @message" }),
      client.listTagsForResource({ resourceArn: `arn:aws:logs:eu-central-1:000000000000:log-group:${logGroupName}` }),
    ]
    for (const refused of await Promise.all(calls.map((call) => refusalOf(call))))
      expect(refused).toMatchObject({ name: "UnknownOperationException", status: 400 })
    client.destroy()
  })

  const send = (target: string, over: object = {}) =>
    signedSend(api.port, {
      method: "POST",
      path: "/",
      service: "logs",
      body: "{}",
      headers: { "x-amz-target": target, "content-type": "application/x-amz-json-1.1" },
      ...over,
    })
  const answerOf = async (sent: ReturnType<typeof signedSend>) => {
    const { status, headers, text } = await sent
    return { status, type: headers["content-type"], body: JSON.parse(text) as { __type?: string; message?: string } }
  }

  test("is answered in its own content type", async () => {
    expect(await answerOf(send("Logs_20140328.DescribeLogGroups"))).toEqual({
      status: 200,
      type: "application/x-amz-json-1.1",
      body: { logGroups: [] },
    })
  })

  test.each([
    ["Logs_20140328.PutLogEvents", {}],
    ["Logs_20140328.toString", {}],
    ["DescribeLogGroups", {}],
    ["", {}],
    ["Logs_20140328.DescribeLogGroups", { method: "GET", body: "" }],
    ["Logs_20140328.DescribeLogGroups", { path: "/2025-09-09/microvms" }],
  ])("has no operation %s with %j but those that are answered", async (target, over) => {
    const { status, type, body } = await answerOf(send(target, over))
    expect({ status, type, name: body.__type }).toEqual({
      status: 400,
      type: "application/x-amz-json-1.1",
      name: "UnknownOperationException",
    })
  })

  test.each([
    [{ secretAccessKey: "wrong" }, "InvalidSignatureException"],
    [{ accessKeyId: "AKIATORPOR0000000009" }, "UnrecognizedClientException"],
    [{ body: "not json" }, "SerializationException"],
    [{ body: '{"limit":"1"}' }, "SerializationException"],
  ])("refuses %j as 400 with its name in the body", async (over, name) => {
    const { status, body } = await answerOf(send("Logs_20140328.DescribeLogGroups", over))
    expect({ status, name: body.__type }).toEqual({ status: 400, name })
    expect(body.message).not.toBe("")
  })
})
