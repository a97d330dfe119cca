import type { LogCatalogue, LogGroup, LogScope } from "../../../logs/catalogue.ts"
import { ServiceError } from "../../../errors.ts"

/** 400: a parameter that is wrong in a way that its shape doesn't say. */
export const invalidParameter = (message: string) => new ServiceError("InvalidParameterException", 400, message)

/** 400: no such group exists in this account and region. */
export const noSuch = (kind: "group" | "stream") =>
  new ServiceError("ResourceNotFoundException", 400, `The specified log ${kind} does not exist.`)

/** A group's ARN, as it is written in `logGroupArn`; the older member `arn` ends in `:*`. */
export const toGroupArn = (name: string, { region, account }: LogScope): string =>
  `arn:aws:logs:${region}:${account}:log-group:${name}`

/** The name of the caller's group that a name or an ARN means; `undefined` when the ARN is somebody else's. */
export const parseGroupIdentifier = (identifier: string, scope: LogScope): string | undefined => {
  if (!identifier.startsWith("arn:")) return identifier
  const [, region, account, name] = /^arn:aws:logs:([^:]*):([^:]*):log-group:([^:]+)$/.exec(identifier) ?? []
  if (name === undefined)
    throw invalidParameter(
      `Invalid logGroupIdentifier '${identifier.slice(0, 512)}': it must be a log group's name, or its ARN without :* at the end.`,
    )
  return region === scope.region && account === scope.account ? name : undefined
}

/** The group that a request names by one of its two members. Throws when it has neither or both, or when there is no such group. */
export const findGroup = async (
  catalogue: LogCatalogue,
  { logGroupName, logGroupIdentifier }: { logGroupName: string | undefined; logGroupIdentifier: string | undefined },
  scope: LogScope,
): Promise<LogGroup> => {
  if ((logGroupName === undefined) === (logGroupIdentifier === undefined))
    throw invalidParameter("Exactly one of logGroupName and logGroupIdentifier must be given.")
  const name = logGroupName ?? parseGroupIdentifier(logGroupIdentifier ?? "", scope)
  const [found] =
    name === undefined ? [] : await catalogue.groups(scope, { names: [name] }, { after: undefined, limit: 1 })
  if (found === undefined) throw noSuch("group")
  return found
}
