/** What comes with an invocation, checked. */
import { ServiceError } from "../../../../errors.ts"

/** Of a payload that is answered to. */
export const MAX_PAYLOAD_BYTES = 6_291_456
const MAX_CONTEXT_CHARACTERS = 3583
const MAX_TRACE_CHARACTERS = 1024

const invalidContent = (message: string) => new ServiceError("InvalidRequestContentException", 400, message)

/** 413, as the service before the service says it. */
export const payloadTooLarge = () => {
  const message = `Request must be smaller than ${MAX_PAYLOAD_BYTES} bytes for the InvokeFunction operation`
  return new ServiceError("RequestEntityTooLargeException", 413, message, { message: undefined, Message: message })
}

/** The event: JSON, and an empty object when nothing was sent. */
export const parsePayload = (payload: Buffer | undefined): Buffer => {
  if (payload === undefined || payload.length === 0) return Buffer.from("{}")
  try {
    JSON.parse(payload.toString("utf8"))
    return payload
  } catch (error) {
    throw invalidContent(
      `Could not parse request body into json: Could not parse payload into json: ${(error as Error).message.slice(0, 256)}`,
    )
  }
}

/** The client context as JSON. */
export const parseClientContext = (encoded: string | undefined): string | undefined => {
  if (encoded === undefined || encoded === "") return undefined
  if (encoded.length > MAX_CONTEXT_CHARACTERS)
    throw invalidContent(`Client context must be smaller than ${MAX_CONTEXT_CHARACTERS} bytes.`)
  try {
    const text = Buffer.from(encoded, "base64").toString("utf8")
    const value: unknown = JSON.parse(text)
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return text
  } catch {
    // Refused below.
  }
  throw invalidContent("Client context must be a valid Base64-encoded JSON object.")
}

/** The trace that the caller is in, if it says so in a form that a function is told. */
export const parseTraceId = (headers: Headers): string | undefined => {
  const value = headers.get("x-amzn-trace-id")
  return value !== null && value.length <= MAX_TRACE_CHARACTERS && /^[\x21-\x7e]+$/.test(value) ? value : undefined
}
