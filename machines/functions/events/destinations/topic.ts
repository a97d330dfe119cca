import { signedPost, type Endpoint } from "./post.ts"
import { NotWanted, typedAttributes, type Send } from "./sender.ts"

/** What says that it is the message that is wrong. */
const REFUSALS = /<Code>(InvalidParameter|InvalidParameterValue|ParameterValueInvalid)<\/Code>/

/** Publishes to topics of SNS, or of a server that speaks its query protocol. */
export const createTopicSender =
  (endpoint: Endpoint): ((topic: { readonly arn: string; readonly region: string }) => Send) =>
  ({ arn, region }) =>
  async (message, signal) => {
    const form = new URLSearchParams({
      Action: "Publish",
      Version: "2010-03-31",
      TopicArn: arn,
      Message: message.body.toString("utf8"),
    })
    for (const [index, [name, type, value]] of typedAttributes(message.attributes).entries()) {
      const entry = `MessageAttributes.entry.${index + 1}`
      form.set(`${entry}.Name`, name)
      form.set(`${entry}.Value.DataType`, type)
      form.set(`${entry}.Value.StringValue`, value)
    }
    const headers = { "content-type": "application/x-www-form-urlencoded" }
    const { status, text } = await signedPost(endpoint, { service: "sns", region }, headers, form.toString(), signal)
    if (status === 200) return
    const said = `Publish: ${status} ${text.slice(0, 300)}`
    throw status < 500 && REFUSALS.test(text) ? new NotWanted(said) : new Error(said)
  }
