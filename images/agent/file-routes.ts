import { toFileError } from "./file-error.ts"
import { listDirectory, openUpload, receiveFile, removeFile, sendFile } from "./files.ts"
import { IMAGE_ROOT } from "./image-root.ts"
import type { Handler } from "./route-server.ts"
import { findUser } from "./user.ts"

/** The routes of files below a root, as protocol.ts has them. */
export const createFileRoutes = (root = IMAGE_ROOT): Record<string, Handler> => ({
  "GET /files": inWords((_, { stream }, { searchParams: query }) => {
    const path = query.get("path") ?? ""
    if (!query.has("list")) return sendFile(path, stream, root)
    const gone = new AbortController()
    stream.once("close", () => gone.abort())
    const page = { after: query.get("after") ?? "", limit: Number(query.get("limit")), signal: gone.signal }
    return listDirectory(path, page, root)
  }),
  "PUT /files": inWords(async (_, { stream }, { searchParams: query }) => {
    const upload = openUpload(stream)
    const [mode, owner] = [query.get("mode"), query.get("owner")]
    const options = {
      maxBytes: Number(query.get("max")),
      mode: mode === null ? undefined : Number.parseInt(mode, 8),
      owner: owner === null ? undefined : await findUser(owner, root),
      makeParents: query.has("parents"),
    }
    await receiveFile(query.get("path") ?? "", upload, options, root)
  }),
  "DELETE /files": inWords((_, __, { searchParams: query }) => removeFile(query.get("path") ?? "", root)),
})

const inWords =
  (handler: Handler): Handler =>
  async (request, response, url) => {
    try {
      return await handler(request, response, url)
    } catch (error) {
      throw toFileError(error)
    }
  }
