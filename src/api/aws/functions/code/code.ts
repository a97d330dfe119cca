import type { CodeSource } from "../../../../../machines/functions/code/code-source.ts"
import { invalid } from "../../../../../machines/functions/refusals.ts"
import type { ValueOf } from "../../shape.ts"
import type { updateCodeInput } from "../function-shapes.ts"

type CodeInput = Pick<
  ValueOf<typeof updateCodeInput>,
  "ZipFile" | "S3Bucket" | "S3Key" | "S3ObjectVersion" | "S3ObjectStorageMode"
> & { readonly SourceKMSKeyArn?: string | undefined }

/** The largest request that carries code: a zip of 50 MiB in base64, and some more. */
export const MAX_CODE_REQUEST_BYTES = 70_167_211

/** Where the code is, as asked: in the request or in a bucket, and not in both. */
export const parseCode = (code: CodeInput): CodeSource => {
  const { ZipFile: zip, S3Bucket: bucket, S3Key: key, S3ObjectVersion: version, S3ObjectStorageMode: mode } = code
  if (mode === "REFERENCE") throw invalid("S3ObjectStorageMode REFERENCE isn't supported by Torpor; leave it out.")
  if (code.SourceKMSKeyArn !== undefined && code.SourceKMSKeyArn !== "")
    throw invalid("SourceKMSKeyArn isn't supported by Torpor; leave it out.")
  if (zip !== undefined) {
    if (bucket !== undefined || key !== undefined || version !== undefined)
      throw invalid("Please do not provide other FunctionCode parameters when providing a ZipFile.")
    return { kind: "inline", zip }
  }
  if (bucket === undefined && key === undefined) throw invalid("Please provide a source for function code.")
  if (bucket === undefined || key === undefined) throw invalid("Please provide both S3Bucket and S3Key.")
  return { kind: "s3", bucket, key, version }
}
