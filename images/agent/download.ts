/** ADD of a URL: a file from the network, as the guest reaches it. */
import { createHash } from "node:crypto"
import { createWriteStream } from "node:fs"
import { mkdir, utimes } from "node:fs/promises"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import type { DownloadSpec } from "../../src/agent/protocol.ts"
import { pathOnDrive } from "./drives.ts"

/** Fetches it into a drive, whose size bounds it; throws on anything but a whole answer of the wanted checksum. */
export const download = async ({ url, into, name, checksum }: DownloadSpec): Promise<void> => {
  const directory = pathOnDrive(into)
  const file = `${directory}/${name}`
  await mkdir(directory, { recursive: true })
  const response = await fetch(url).catch((error: Error) => {
    throw new Error(`${url} cannot be fetched: ${(error.cause as Error | undefined)?.message ?? error.message}`)
  })
  if (!response.ok || response.body === null) throw new Error(`${url} cannot be fetched: it answers ${response.status}`)
  const hash = createHash("sha256")
  await pipeline(
    Readable.fromWeb(response.body as never),
    async function* (chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        hash.update(chunk)
        yield chunk
      }
    },
    createWriteStream(file, { mode: 0o600 }),
  )
  const digest = `sha256:${hash.digest("hex")}`
  if (checksum !== null && checksum !== digest) throw new Error(`the digest of ${url} is ${digest}, not ${checksum}`)
  const modified = Date.parse(response.headers.get("last-modified") ?? "")
  if (Number.isFinite(modified)) await utimes(file, modified / 1000, modified / 1000)
}
