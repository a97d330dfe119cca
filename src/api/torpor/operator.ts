import { ACCOUNT } from "../../../machines/arn.ts"
import type { Caller } from "../../../machines/resources.ts"
import { ServiceError } from "../../errors.ts"

/** Throws AWS's 403 for whoever isn't the operator: that is every key of the account that the first credentials are of. */
export const refuseOthers = ({ account, accessKeyId }: Caller, action: string): void => {
  if (account === ACCOUNT) return
  throw new ServiceError(
    "AccessDeniedException",
    403,
    `User: arn:aws:iam::${account}:user/${accessKeyId} is not authorized to perform: torpor:${action} because only the operator's account may.`,
  )
}
