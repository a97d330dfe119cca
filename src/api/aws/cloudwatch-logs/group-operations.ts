import type { LogArchive } from "../../../logs/archive.ts"
import type { StreamSummary } from "../../../logs/catalogue.ts"
import { rpcOperation } from "../json-rpc-service.ts"
import type { Operation } from "../operation.ts"
import { parsePage, toPageToken } from "../page-token.ts"
import { findGroup, invalidParameter, parseGroupIdentifier, toGroupArn } from "./group-names.ts"
import { describeGroupsInput, describeStreamsInput } from "./shapes.ts"

const toMs = (time: Date | null) => time?.getTime() ?? null

/** Where a page of streams ends, as text, and back. */
const toStreamKey = ({ name, lastAt }: StreamSummary) => `${lastAt?.getTime() ?? 0} ${name}`
const fromStreamKey = (key: string) => {
  const space = key.indexOf(" ")
  return { lastAt: new Date(Number(key.slice(0, space))), name: key.slice(space + 1) }
}

/** What groups and streams there are. */
export const createGroupOperations = (archive: LogArchive): Operation[] => [
  rpcOperation("DescribeLogGroups", describeGroupsInput, async (input, call) => {
    const { caller } = call
    const { logGroupNamePrefix: prefix, logGroupNamePattern: part, logGroupClass, accountIdentifiers } = input
    if (prefix !== undefined && part !== undefined)
      throw invalidParameter("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
    const names = input.logGroupIdentifiers?.flatMap((each) => parseGroupIdentifier(each, caller) ?? [])
    const list = JSON.stringify(["groups", prefix, part, logGroupClass, accountIdentifiers, names])
    const { limit, after } = parsePage(input.limit, input.nextToken, list, call)
    // Every group is of the standard class, and no account sees another's.
    const isNone =
      (logGroupClass !== undefined && logGroupClass !== "STANDARD") ||
      accountIdentifiers?.includes(caller.account) === false
    const found = isNone ? [] : await archive.groups(caller, { prefix, part, names }, { after, limit: limit + 1 })
    const shown = found.slice(0, limit)
    return {
      logGroups: shown.map(({ name, createdAt, storedBytes }) => ({
        arn: `${toGroupArn(name, caller)}:*`,
        creationTime: toMs(createdAt),
        logGroupArn: toGroupArn(name, caller),
        logGroupClass: "STANDARD",
        logGroupName: name,
        metricFilterCount: 0,
        retentionInDays: archive.days,
        storedBytes,
      })),
      nextToken: toPageToken(found.length > limit ? shown.at(-1)?.name : undefined, list, call),
    }
  }),

  rpcOperation("DescribeLogStreams", describeStreamsInput, async (input, call) => {
    const { caller } = call
    const { logStreamNamePrefix: prefix, orderBy = "LogStreamName", descending = false } = input
    if (prefix !== undefined && orderBy === "LastEventTime")
      throw invalidParameter("Cannot order by LastEventTime with a logStreamNamePrefix.")
    const group = await findGroup(archive, input, caller)
    const list = JSON.stringify(["streams", group.id, prefix, orderBy, descending])
    const { limit, after } = parsePage(input.limit, input.nextToken, list, call)
    const found = await archive.streams(
      group.id,
      { prefix },
      { by: orderBy === "LogStreamName" ? "name" : "last event", descending },
      { after: after === undefined ? undefined : fromStreamKey(after), limit: limit + 1 },
    )
    const shown = found.slice(0, limit)
    const last = found.length > limit ? shown.at(-1) : undefined
    return {
      logStreams: shown.map((stream) => ({
        arn: `${toGroupArn(group.name, caller)}:log-stream:${stream.name}`,
        creationTime: toMs(stream.createdAt),
        firstEventTimestamp: toMs(stream.firstAt),
        lastEventTimestamp: toMs(stream.lastAt),
        lastIngestionTime: toMs(stream.storedAt),
        logStreamName: stream.name,
        // As AWS says it of every stream since 2019.
        storedBytes: 0,
      })),
      nextToken: toPageToken(last && toStreamKey(last), list, call),
    }
  }),
]
