import type { Readable } from "node:stream"
import { GetObjectCommand, S3Client, S3ServiceException } from "@aws-sdk/client-s3"
import { ArtifactError, keepArtifact, parseArtifactUri, type ArtifactErrorCode, type Artifacts } from "./artifact.ts"

export interface RemoteArtifactsConfig {
  readonly endpoint: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly directory: string
  readonly maxBytes: number
}

const codeOf = (error: S3ServiceException): ArtifactErrorCode | undefined => {
  if (error.name === "NoSuchKey" || error.name === "NotFound") return "S3_NO_SUCH_KEY"
  if (error.name === "NoSuchBucket") return "S3_NO_SUCH_BUCKET"
  if (error.name === "InvalidObjectState") return "S3_INVALID_OBJECT"
  return error.$metadata.httpStatusCode === 403 ? "S3_ACCESS_DENIED" : undefined
}

/** Artifacts of another S3, read with the operator's credentials whoever asks. The caller disposes of the client. */
export const createRemoteArtifacts = (config: RemoteArtifactsConfig): Artifacts & Disposable => {
  const { endpoint, region, accessKeyId, secretAccessKey, directory, maxBytes } = config
  const client = new S3Client({ endpoint, region, credentials: { accessKeyId, secretAccessKey }, forcePathStyle: true })
  return {
    openArtifact: async (uri, _scope, signal) => {
      const { bucket, key } = parseArtifactUri(uri)
      try {
        const got = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }), { abortSignal: signal })
        if (got.Body === undefined || got.ContentLength === undefined) {
          throw new ArtifactError("S3_INVALID_OBJECT", `${uri} came without a body or a length.`)
        }
        const etag = (got.ETag ?? "").replaceAll('"', "")
        return await keepArtifact(
          got.Body as Readable,
          { uri, bytes: got.ContentLength, etag, directory, maxBytes },
          signal,
        )
      } catch (error) {
        const code = error instanceof S3ServiceException ? codeOf(error) : undefined
        if (code === undefined) throw error
        throw new ArtifactError(code, `${uri}: ${(error as Error).message}`, { cause: error })
      }
    },
    [Symbol.dispose]: () => client.destroy(),
  }
}
