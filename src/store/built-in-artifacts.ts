import { ServiceError } from "../errors.ts"
import { ArtifactError, keepArtifact, parseArtifactUri, type Artifacts } from "./artifact.ts"
import type { ArtifactStore } from "./artifact-store.ts"

/** Artifacts of the built-in store, copied into `directory`, none larger than `maxBytes`. */
export const createBuiltInArtifacts = (
  store: ArtifactStore,
  { directory, maxBytes }: { directory: string; maxBytes: number },
): Artifacts => ({
  openArtifact: async (uri, { account }, signal) => {
    const { bucket, key } = parseArtifactUri(uri)
    try {
      const { object, file } = await store.open(account, bucket, key)
      const source = file.createReadStream({ highWaterMark: 1024 * 1024 })
      return await keepArtifact(source, { uri, bytes: object.bytes, etag: object.etag, directory, maxBytes }, signal)
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      const code = error.code === "NoSuchBucket" ? "S3_NO_SUCH_BUCKET" : "S3_NO_SUCH_KEY"
      throw new ArtifactError(code, `${uri}: ${error.message}`, { cause: error })
    }
  },
})
