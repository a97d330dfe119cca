import { readFile } from "node:fs/promises"
import { buffer } from "node:stream/consumers"
import { OperatorError } from "../../errors.ts"
import { withClient } from "../client.ts"
import type { CommandInput } from "../commands.ts"
import { printable } from "../log-lines.ts"

/** `torpor invoke NAME`: invokes a function and waits for what it answers. */
export const invoke = async (input: CommandInput): Promise<number> => {
  const { config, args, options, print, note, signal } = input
  const payload = await read(options.get("payload")?.[0])
  const [wantsLog, name] = [options.has("tail"), args["NAME"] ?? ""]
  return withClient(config, async (client) => {
    const { headers, ...response } = await client
      .askLambda(
        {
          method: "POST",
          path: `/2015-03-31/functions/${encodeURIComponent(name)}/invocations`,
          headers: {
            "content-type": "application/octet-stream",
            ...(wantsLog ? { "x-amz-log-type": "Tail" } : {}),
          },
          body: payload,
        },
        signal,
      )
      .then(async (answer) => ({ headers: answer.headers, text: await answer.text() }))
    const log = Buffer.from(headers.get("x-amz-log-result") ?? "", "base64").toString("utf8")
    for (const line of log.split("\n")) if (line !== "") note(printable(line))
    print(response.text)
    const error = headers.get("x-amz-function-error")
    if (error === null) return 0
    note(`The function failed (${error}): see above, and \`torpor logs ${name.split(":")[0]}\`.`)
    return 1
  })
}

const read = async (file: string | undefined): Promise<Buffer> => {
  if (file === undefined) return Buffer.from("{}")
  if (file === "-") return buffer(process.stdin)
  return readFile(file).catch((error: Error) => {
    throw new OperatorError(`The payload cannot be read: ${error.message}. --payload wants a file, or - for stdin.`)
  })
}
