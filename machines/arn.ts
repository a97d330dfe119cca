import type { Scope } from "./resources.ts"

/** The operator's, which the first credentials are of. */
export const ACCOUNT = "000000000000"

/** The ARN of an image of an account. */
export const imageArn = (scope: Scope, name: string) =>
  `arn:aws:lambda:${scope.region}:${scope.account}:microvm-image:${name}`

/** How a MicroVM is named in audit log and events; AWS has no ARN for one. */
export const microvmArn = (scope: Scope, id: string) =>
  `arn:aws:lambda:${scope.region}:${scope.account}:microvm:microvm-${id}`
