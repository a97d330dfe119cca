// A function that is none: what it does is what most do, so that a runtime which has run it has all of that behind it.
import "node:crypto"
import "node:events"
import "node:fs/promises"
import "node:https"
import "node:path"
import "node:stream"
import "node:url"
import "node:util"
import "node:zlib"

export const handler = async (event, context) => {
  console.log("event", event, context.getRemainingTimeInMillis())
  await new Promise((resolve) => setTimeout(resolve, 1))
  return { statusCode: 200, headers: { "content-type": "application/json" }, body: JSON.stringify({ event }) }
}
