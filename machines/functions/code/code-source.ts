/** Code as callers give it, looked through before anything is kept of it. It is never unpacked on this host. */
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { Readable } from "node:stream"
import { walkArchive } from "../../../images/archive-entries.ts"
import { ArchiveError, ArchiveTooLargeError } from "../../../images/archive-error.ts"
import { ServiceError } from "../../../src/errors.ts"
import { ArtifactError, keepArtifact, type Artifact, type Artifacts } from "../../../src/store/artifact.ts"
import type { Scope } from "../../resources.ts"
import type { FunctionsGround } from "../ground.ts"
import { invalid } from "../refusals.ts"

/** A zip in the request itself, or where one is. */
export type CodeSource =
  | { readonly kind: "inline"; readonly zip: Buffer }
  | { readonly kind: "s3"; readonly bucket: string; readonly key: string; readonly version: string | undefined }

export const CODE_LIMITS = {
  zippedBytes: 52_428_800,
  /** Together with all layers. */
  unpackedBytes: 262_144_000,
} as const

/** A copy that was read whole and looked through. The caller disposes of it. */
export interface CheckedCode extends AsyncDisposable {
  readonly path: string
  /** Base64. */
  readonly sha256: string
  readonly bytes: number
  readonly unpackedBytes: number
}

const s3Errors = {
  S3_NO_SUCH_KEY: ["NoSuchKey", "The specified key does not exist."],
  S3_NO_SUCH_BUCKET: ["NoSuchBucket", "The specified bucket does not exist"],
  S3_ACCESS_DENIED: ["AccessDenied", "Access Denied"],
  S3_INVALID_OBJECT: ["InvalidObject", "The object is too large, or broke off."],
} as const

const s3Refusal = ([code, message]: readonly [string, string]) =>
  invalid(`Error occurred while GetObject. S3 Error Code: ${code}. S3 Error Message: ${message}`)

export const unpackedTooLarge = () => invalid(`Unzipped size must be smaller than ${CODE_LIMITS.unpackedBytes} bytes`)

/** Fetches the code and looks through it when it is its turn, which ends with the copy; throws AWS's refusals. */
export const openCode = async (
  source: CodeSource,
  { artifacts, artifactDirectory, codeTurns }: Pick<FunctionsGround, "artifacts" | "artifactDirectory" | "codeTurns">,
  scope: Scope,
  signal: AbortSignal,
): Promise<CheckedCode> => {
  await using held = new AsyncDisposableStack()
  held.defer(await codeTurns.take(signal))
  const artifact = held.use(await fetchCode(source, artifacts, artifactDirectory, scope, signal))
  try {
    if (artifact.bytes === 0) throw invalid("Uploaded file must be a non-empty zip")
    const { unpackedBytes } = await walkArchive(artifact.path, CODE_LIMITS.unpackedBytes, () => {})
    const hash = createHash("sha256")
    for await (const piece of createReadStream(artifact.path, { highWaterMark: 1024 * 1024, signal }))
      hash.update(piece as Buffer)
    const kept = held.move()
    return {
      path: artifact.path,
      bytes: artifact.bytes,
      sha256: hash.digest("base64"),
      unpackedBytes,
      [Symbol.asyncDispose]: () => kept.disposeAsync(),
    }
  } catch (error) {
    if (error instanceof ArchiveTooLargeError) throw unpackedTooLarge()
    if (error instanceof ArchiveError)
      throw invalid("Could not unzip uploaded file. Please check your file, then try to upload again.")
    throw error
  }
}

const fetchCode = async (
  source: CodeSource,
  artifacts: Artifacts,
  directory: string,
  scope: Scope,
  signal: AbortSignal,
): Promise<Artifact> => {
  if (source.kind === "inline") {
    const { zip } = source
    if (zip.length > CODE_LIMITS.zippedBytes)
      throw new ServiceError(
        "RequestEntityTooLargeException",
        413,
        `Zipped size must be smaller than ${CODE_LIMITS.zippedBytes} bytes`,
      )
    const limits = { uri: "ZipFile", bytes: zip.length, etag: "", directory, maxBytes: CODE_LIMITS.zippedBytes }
    return keepArtifact(Readable.from([zip]), limits, signal)
  }
  // Neither store that code comes from keeps versions of objects.
  if (source.version !== undefined) throw s3Refusal(["NoSuchVersion", "The specified version does not exist."])
  try {
    return await artifacts.openArtifact(`s3://${source.bucket}/${source.key}`, scope, signal)
  } catch (error) {
    if (error instanceof ArtifactError) throw s3Refusal(s3Errors[error.code])
    throw error
  }
}
