import { createHmac } from "node:crypto"
import { post } from "./post.ts"
import { NotWanted, type Send } from "./sender.ts"

export interface Webhook {
  readonly url: string
  /** What requests are signed with; `whsec_` and base64, or any text. */
  readonly secret: string
}

/** What says that it is the message that is wrong; all else may be mended. */
const REFUSALS = new Set([400, 410, 413, 415, 422])

const keyOf = (secret: string) =>
  secret.startsWith("whsec_") ? Buffer.from(secret.slice("whsec_".length), "base64") : Buffer.from(secret)

/** Posts to a URL of the operator's, signed as https://www.standardwebhooks.com says; any 2xx takes it. */
export const createWebhookSender =
  ({ url, secret }: Webhook): Send =>
  async ({ id, body }, signal) => {
    const timestamp = String(Math.floor(Date.now() / 1000))
    const signature = createHmac("sha256", keyOf(secret)).update(`${id}.${timestamp}.`).update(body).digest("base64")
    const headers = {
      "content-type": "application/json",
      "webhook-id": id,
      "webhook-timestamp": timestamp,
      "webhook-signature": `v1,${signature}`,
    }
    const { status } = await post(new URL(url), headers, body, signal)
    if (status >= 200 && status < 300) return
    throw REFUSALS.has(status) ? new NotWanted(`It answered ${status}`) : new Error(`It answered ${status}`)
  }
