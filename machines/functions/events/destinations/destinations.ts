/** Where results of events can go here: what the operator has configured, and functions. */
import { randomUUID } from "node:crypto"
import type { Scope } from "../../../resources.ts"
import { invalid } from "../../refusals.ts"
import type { AsyncIntake } from "../intake.ts"
import { parseDestination, type DestinationAddress } from "./arn.ts"
import type { Endpoint } from "./post.ts"
import { MAX_MESSAGE_BYTES, type Send } from "./sender.ts"
import type { Webhook } from "./webhook.ts"

export interface DestinationSettings {
  readonly sqs?: Endpoint | undefined
  readonly sns?: Endpoint | undefined
  readonly webhooks: Readonly<Record<string, Webhook>>
}

/** What an ARN is to be: a dead letter goes to a queue or a topic alone. */
export type DestinationUse = "onSuccess" | "onFailure" | "deadLetter"

/** Throws AWS's refusal of an ARN that nothing could ever be sent to. */
export type CheckDestination = (arn: string, use: DestinationUse, scope: Scope) => void

const serviceOf = (arn: string) => /^arn:aws[a-z-]*:([a-z0-9-]+):/.exec(arn)?.[1]

/** Why nothing can be sent there, `undefined` when something can. */
const obstacle = (
  settings: DestinationSettings,
  arn: string,
  address: DestinationAddress | undefined,
  scope: Scope,
): string | undefined => {
  if (address === undefined) {
    const service = serviceOf(arn)
    return service === "events" || service === "s3"
      ? `${service === "s3" ? "S3" : "EventBridge"} is not a destination here.`
      : ""
  }
  if (address.kind === "lambda")
    return address.scope.account === scope.account && address.scope.region === scope.region
      ? undefined
      : "It is a function of another account or region."
  if (address.kind === "webhook")
    return Object.hasOwn(settings.webhooks, address.name)
      ? undefined
      : "Torpor is configured without this webhook: destinations.webhooks in TORPOR_CONFIG."
  return settings[address.kind] === undefined
    ? `Torpor is configured without an endpoint for it: destinations.${address.kind} in TORPOR_CONFIG.`
    : undefined
}

/** Checks ARNs before they are kept. */
export const createDestinationCheck =
  (settings: DestinationSettings): CheckDestination =>
  (arn, use, scope) => {
    const address = parseDestination(arn)
    const isDeadLetter = use === "deadLetter"
    const why =
      isDeadLetter && address !== undefined && address.kind !== "sqs" && address.kind !== "sns"
        ? "A dead-letter queue is one of SQS or a topic of SNS."
        : obstacle(settings, arn, address, scope)
    if (why === undefined) return
    const message = isDeadLetter
      ? `The provided dead letter config TargetArn ${arn} is invalid.`
      : `The destination ARN ${arn} is invalid.`
    throw invalid(`${message} ${why}`.trimEnd())
  }

/** Senders to what there is, each loaded and made when it is first needed; `undefined` when the operator has taken it away. */
export const createSenders = (settings: DestinationSettings, intake: AsyncIntake) => {
  const toQueue = once(async (endpoint: Endpoint) => (await import("./queue.ts")).createQueueSender(endpoint))
  const toTopic = once(async (endpoint: Endpoint) => (await import("./topic.ts")).createTopicSender(endpoint))

  const sendTo = async (address: DestinationAddress): Promise<Send | undefined> => {
    if (address.kind === "lambda") {
      const { target, scope } = address
      return ({ body, lineage }) => intake.accept({ requestId: randomUUID(), target, scope, payload: body, lineage })
    }
    if (address.kind === "sqs") return settings.sqs && (await toQueue(settings.sqs))(address)
    if (address.kind === "sns") return settings.sns && (await toTopic(settings.sns))(address)
    const webhook = Object.hasOwn(settings.webhooks, address.name) ? settings.webhooks[address.name] : undefined
    return webhook && (await import("./webhook.ts")).createWebhookSender(webhook)
  }

  return async (arn: string): Promise<{ send: Send; maxBytes: number } | undefined> => {
    const address = parseDestination(arn)
    const send = address && (await sendTo(address))
    return address && send && { send, maxBytes: MAX_MESSAGE_BYTES[address.kind] }
  }
}

const once = <Input, Made>(make: (input: Input) => Promise<Made>) => {
  let made: Promise<Made> | undefined
  return (input: Input) => (made ??= make(input))
}
