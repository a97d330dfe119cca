/**
 * Every input of CloudWatch Logs that is answered, and what holds for its members. The order of members is the order in which AWS names
 * what is wrong with them.
 */
import { boolean, integer, list, oneOf, optional, required, string, structure } from "../shape.ts"

const groupPattern = "[\\.\\-_/#A-Za-z0-9]+"
const groupName = string({ min: 1, max: 512, pattern: groupPattern })
const groupIdentifier = string({ min: 1, max: 2048, pattern: "[\\w#+=/:,.@-]*" })
const streamName = string({ min: 1, max: 512, pattern: "[^:*]*" })
const time = integer({ min: 0 })
const nextToken = optional(string({ min: 1, max: 2048 }))
const listLimit = optional(integer({ min: 1, max: 50 }))
const eventsLimit = optional(integer({ min: 1, max: 10_000 }))

/** Two names for one thing: a request has either. */
const group = { logGroupName: optional(groupName), logGroupIdentifier: optional(groupIdentifier) } as const

export const describeGroupsInput = structure({
  accountIdentifiers: optional(list(string({ min: 12, max: 12, pattern: "\\d{12}" }), { min: 0, max: 20 })),
  logGroupNamePrefix: optional(groupName),
  logGroupNamePattern: optional(string({ min: 0, max: 512, pattern: "[\\.\\-_/#A-Za-z0-9]*" })),
  nextToken,
  limit: listLimit,
  includeLinkedAccounts: optional(boolean()),
  logGroupClass: optional(oneOf("STANDARD", "INFREQUENT_ACCESS", "DELIVERY")),
  logGroupIdentifiers: optional(list(groupIdentifier, { min: 1, max: 50 })),
})

export const describeStreamsInput = structure({
  ...group,
  logStreamNamePrefix: optional(streamName),
  orderBy: optional(oneOf("LogStreamName", "LastEventTime")),
  descending: optional(boolean()),
  nextToken,
  limit: listLimit,
})

export const getEventsInput = structure({
  ...group,
  logStreamName: required(streamName),
  startTime: optional(time),
  endTime: optional(time),
  nextToken,
  limit: eventsLimit,
  startFromHead: optional(boolean()),
  unmask: optional(boolean()),
})

export const filterEventsInput = structure({
  ...group,
  logStreamNames: optional(list(streamName, { min: 1, max: 100 })),
  logStreamNamePrefix: optional(streamName),
  startTime: optional(time),
  endTime: optional(time),
  filterPattern: optional(string({ min: 0, max: 1024 })),
  nextToken,
  limit: eventsLimit,
  interleaved: optional(boolean()),
  unmask: optional(boolean()),
  startFromHead: optional(boolean()),
})
