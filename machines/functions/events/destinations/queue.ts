import { LRUCache } from "lru-cache"
import { signedPost, type Answer, type Endpoint } from "./post.ts"
import { NotWanted, typedAttributes, type Send } from "./sender.ts"

/** URLs of queues, by ARN. */
const MAX_URLS = 1000
/** What says that it is the message that is wrong. */
const REFUSALS = /InvalidMessageContents|InvalidParameterValue|UnsupportedOperation|MessageTooLong|RequestTooLong/

export interface QueueAddress {
  readonly arn: string
  readonly region: string
  readonly account: string
  readonly name: string
}

/** Sends to queues of SQS, or of a server that speaks its JSON protocol: always to the endpoint itself, wherever a queue's URL points. */
export const createQueueSender = (endpoint: Endpoint): ((queue: QueueAddress) => Send) => {
  const urls = new LRUCache<string, string>({ max: MAX_URLS })

  const call = async (region: string, operation: string, input: object, signal: AbortSignal): Promise<Answer> => {
    const headers = { "content-type": "application/x-amz-json-1.0", "x-amz-target": `AmazonSQS.${operation}` }
    const answer = await signedPost(endpoint, { service: "sqs", region }, headers, JSON.stringify(input), signal)
    if (answer.status === 200) return answer
    const said = `${operation}: ${answer.status} ${answer.text.slice(0, 300)}`
    throw operation === "SendMessage" && answer.status < 500 && REFUSALS.test(answer.text)
      ? new NotWanted(said)
      : new Error(said)
  }

  const urlOf = async ({ arn, region, account, name }: QueueAddress, signal: AbortSignal): Promise<string> => {
    const known = urls.get(arn)
    if (known !== undefined) return known
    const { text } = await call(region, "GetQueueUrl", { QueueName: name, QueueOwnerAWSAccountId: account }, signal)
    const { QueueUrl } = JSON.parse(text) as { QueueUrl?: unknown }
    if (typeof QueueUrl !== "string") throw new Error("GetQueueUrl has answered without a URL")
    urls.set(arn, QueueUrl)
    return QueueUrl
  }

  return (queue) => async (message, signal) => {
    const attributes = typedAttributes(message.attributes).map(
      ([name, DataType, StringValue]) => [name, { DataType, StringValue }] as const,
    )
    const input = {
      QueueUrl: await urlOf(queue, signal),
      MessageBody: message.body.toString("utf8"),
      ...(attributes.length > 0 ? { MessageAttributes: Object.fromEntries(attributes) } : {}),
    }
    try {
      await call(queue.region, "SendMessage", input, signal)
    } catch (error) {
      // It may have been made anew, elsewhere.
      urls.delete(queue.arn)
      throw error
    }
  }
}
