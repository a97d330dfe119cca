/**
 * Where results may go, by ARN: `arn:aws:sqs:REGION:ACCOUNT:QUEUE`, `arn:aws:sns:REGION:ACCOUNT:TOPIC`, a function's, and
 * `arn:aws:torpor:::webhook/NAME` for a webhook that the operator has named.
 */
import type { Scope } from "../../../resources.ts"
import type { FunctionReference } from "../../names.ts"

export type DestinationAddress =
  | {
      readonly kind: "sqs" | "sns"
      readonly arn: string
      readonly region: string
      readonly account: string
      readonly name: string
    }
  | { readonly kind: "lambda"; readonly scope: Scope; readonly target: FunctionReference }
  | { readonly kind: "webhook"; readonly name: string }

const QUEUE_OR_TOPIC = /^arn:aws[a-z-]*:(sqs|sns):([a-z0-9-]+):(\d{12}):([A-Za-z0-9_-]{1,256})$/
const FUNCTION =
  /^arn:aws[a-z-]*:lambda:([a-z0-9-]+):(\d{12}):function:([A-Za-z0-9_-]{1,64})(?::(\$LATEST|[A-Za-z0-9_-]{1,128}))?$/
const WEBHOOK = /^arn:aws[a-z-]*:torpor:[a-z0-9-]*:\d*:webhook\/([A-Za-z0-9_-]{1,64})$/

/** `undefined` when it is none of them: FIFO queues and topics are none, here as on AWS. */
export const parseDestination = (arn: string): DestinationAddress | undefined => {
  const [, service, region = "", account = "", name = ""] = QUEUE_OR_TOPIC.exec(arn) ?? []
  if (service === "sqs" || service === "sns") return { kind: service, arn, region, account, name }
  const [, functionRegion = "", functionAccount = "", functionName, qualifier] = FUNCTION.exec(arn) ?? []
  if (functionName !== undefined)
    return {
      kind: "lambda",
      scope: { region: functionRegion, account: functionAccount },
      target: { name: functionName, qualifier },
    }
  const [, webhook] = WEBHOOK.exec(arn) ?? []
  return webhook === undefined ? undefined : { kind: "webhook", name: webhook }
}
