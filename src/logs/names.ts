/** How AWS names groups and streams, and where a log is that says nothing else. */
import type { LoggingTarget } from "../db/values.ts"

/** Where a log is found by who reads it. */
export interface LogAddress {
  readonly account: string
  readonly region: string
  readonly group: string
  readonly stream: string
}

/** What docker-build says is of no version yet. */
export const BUILD_VERSION = "0.0"

/** The group of an image: of its builds and of its MicroVMs. */
export const imageGroup = (imageName: string): string => `/aws/lambda-microvms/${imageName}`

/** The group of a function that has no other of its own. */
export const functionGroup = (functionName: string): string => `/aws/lambda/${functionName}`

/** A stream's own name: the day on which it began, the version, and what says it. */
export const streamName = (began: Date, version: string, speaker: string): string =>
  `${began.toISOString().slice(0, 10).replaceAll("-", "/")}[${version}]${speaker}`

/** Where something's log is kept, as was asked for it or by default; `undefined` when none is wanted. */
export const placeLog = (target: LoggingTarget | null, byDefault: LogAddress): LogAddress | undefined => {
  if (target?.kind === "disabled") return undefined
  return { ...byDefault, group: target?.group ?? byDefault.group, stream: target?.stream ?? byDefault.stream }
}
