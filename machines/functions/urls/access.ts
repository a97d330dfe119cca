/** Who may invoke a function by its URL: what its resource policy says, as far as URLs go by it. */
import type { PolicyStatement } from "../../../src/db/function-values.ts"

export interface UrlCaller {
  readonly accessKeyId: string
  readonly account: string
  /** The region that the request was signed for. */
  readonly region: string
}

/** A function's URL, as its access is decided. */
export interface GuardedUrl {
  readonly authType: "NONE" | "AWS_IAM"
  readonly account: string
  readonly region: string
  readonly statements: readonly PolicyStatement[]
}

/** Both are needed since October 2025: urls-auth of AWS's guide. */
const ACTIONS = ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"]

/** Whether a caller is let in; `undefined` is anybody, who hasn't signed. */
export const allowsUrl = (url: GuardedUrl, caller: UrlCaller | undefined): boolean => {
  if (caller === undefined) return url.authType === "NONE" && isAllowed(url, undefined)
  if (caller.region !== url.region) return false
  // A key is all of its account.
  return caller.account === url.account || isAllowed(url, caller)
}

const isAllowed = ({ statements, authType }: GuardedUrl, caller: UrlCaller | undefined) =>
  ACTIONS.every((action) =>
    statements.some(
      (statement) =>
        isFor(statement.Action, action) && isOf(statement.Principal, caller) && holds(statement.Condition, authType),
    ),
  )

const isFor = (allowed: string, action: string) =>
  allowed === "*" || allowed.toLowerCase() === "lambda:*" || allowed.toLowerCase() === action.toLowerCase()

const isOf = (principal: PolicyStatement["Principal"], caller: UrlCaller | undefined) =>
  principal === "*" ||
  ("AWS" in principal && caller !== undefined && principal.AWS === `arn:aws:iam::${caller.account}:root`)

/** What a request to a URL has to offer; any other condition asks for what it hasn't got. */
const holds = (condition: PolicyStatement["Condition"] = {}, authType: GuardedUrl["authType"]) => {
  const facts: Readonly<Record<string, string>> = {
    "lambda:functionurlauthtype": authType,
    "lambda:invokedviafunctionurl": "true",
  }
  return Object.values(condition).every((wanted) =>
    Object.entries(wanted).every(([key, value]) => facts[key.toLowerCase()] === value),
  )
}
