import { ServiceError } from "../../../errors.ts"
import { checksumAlgorithms, type ChecksumAlgorithm } from "../../../store/checksum.ts"
import { parseObjectHeaders } from "./object-headers.ts"
import { isIfAbsent } from "./object-routes.ts"
import { asks, placeOf, query, type S3Request, type S3Route } from "./request.ts"
import { element, parseRecords, toXml } from "./xml.ts"

const MAX_PARTS = 10_000
const xmlHeaders = { "content-type": "application/xml" }

const parseAlgorithm = (headers: Headers): ChecksumAlgorithm | undefined => {
  const text = headers.get("x-amz-checksum-algorithm")
  if (text === null) return undefined
  const found = checksumAlgorithms.find((algorithm) => algorithm === text.toUpperCase())
  if (!found)
    throw new ServiceError(
      "InvalidRequest",
      400,
      `Checksum algorithm provided is unsupported. Please try again with any of the valid types: [${checksumAlgorithms.join(", ")}]`,
    )
  return found
}

const create = async (request: S3Request) => {
  const { account, bucket, key, headers } = request
  const algorithm = parseAlgorithm(headers)
  const type = headers.get("x-amz-checksum-type")?.toUpperCase()
  const checksumType =
    type === "FULL_OBJECT" || (type === undefined && algorithm === "CRC64NVME") ? "FULL_OBJECT" : "COMPOSITE"
  const uploadId = request.store.startUpload({
    account,
    bucket,
    key,
    headers: parseObjectHeaders(headers),
    algorithm,
    checksumType,
  })
  const body = toXml(
    element("InitiateMultipartUploadResult", [
      element("Bucket", bucket),
      element("Key", key),
      element("UploadId", uploadId),
    ]),
  )
  const said = algorithm ? { "x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": checksumType } : {}
  return new Response(body, { headers: { ...xmlHeaders, ...said } })
}

const putPart = async (request: S3Request, uploadId: string) => {
  const number = Number(query(request, "partNumber"))
  if (!Number.isInteger(number) || number < 1 || number > MAX_PARTS) {
    throw new ServiceError("InvalidArgument", 400, "Part number must be an integer between 1 and 10000, inclusive")
  }
  const { store, payload, signal } = request
  const target = store.uploads.find(uploadId, ...placeOf(request))
  const part = await store.uploads.putPart(uploadId, number, payload.body, payload, signal)
  const algorithm = payload.algorithm ?? target.algorithm
  const checksum: Record<string, string> =
    algorithm && part.checksum
      ? { [`x-amz-checksum-${algorithm.toLowerCase()}`]: part.checksum.toString("base64") }
      : {}
  return new Response(null, { headers: { etag: `"${part.md5.toString("hex")}"`, ...checksum } })
}

const complete = async (request: S3Request, uploadId: string) => {
  const { store, account, bucket, key, headers, signal } = request
  const { algorithm } = store.uploads.find(uploadId, account, bucket, key)
  const named = parseRecords(await request.readAll(), "Part", MAX_PARTS + 1).map((part) => ({
    number: Number(part.get("PartNumber")),
    etag: (part.get("ETag") ?? "").replaceAll('"', ""),
    checksum: algorithm && part.get(`Checksum${algorithm}`),
  }))
  if (named.length === 0 || named.length > MAX_PARTS) {
    throw new ServiceError(
      "MalformedXML",
      400,
      "The XML you provided was not well-formed or did not validate against our published schema",
    )
  }
  const whole = parseWhole(headers, algorithm)
  const object = await store.completeUpload(
    { account, bucket, key },
    uploadId,
    named,
    { ifAbsent: isIfAbsent(headers), whole },
    signal,
  )
  const body = toXml(
    element("CompleteMultipartUploadResult", [
      element("Location", `http://${headers.get("host") ?? ""}${request.target.path}`),
      element("Bucket", bucket),
      element("Key", key),
      element("ETag", `"${object.etag}"`),
      object.checksum ? element(`Checksum${object.checksum.algorithm}`, object.checksum.value) : undefined,
      object.checksum ? element("ChecksumType", object.checksum.type) : undefined,
    ]),
  )
  return new Response(body, { headers: xmlHeaders })
}

/** What the client says that the parts together are. */
const parseWhole = (headers: Headers, algorithm: ChecksumAlgorithm | undefined) => {
  const bytes = headers.get("x-amz-mp-object-size")
  if (bytes !== null && !/^\d{1,15}$/.test(bytes))
    throw new ServiceError("InvalidArgument", 400, "x-amz-mp-object-size must be a number of bytes.")
  return {
    bytes: bytes === null ? undefined : Number(bytes),
    checksum: (algorithm && headers.get(`x-amz-checksum-${algorithm.toLowerCase()}`)) ?? undefined,
  }
}

const abort = async (request: S3Request, uploadId: string) => {
  request.store.uploads.find(uploadId, ...placeOf(request))
  await request.store.uploads.abort(uploadId)
  return new Response(null, { status: 204 })
}

/** What is done to an upload in parts. */
export const multipartRoute: S3Route = (request) => {
  if (request.method === "POST" && asks(request, "uploads")) return create(request)
  const uploadId = query(request, "uploadId")
  if (uploadId === undefined) return undefined
  if (request.method === "PUT") return putPart(request, uploadId)
  if (request.method === "POST") return complete(request, uploadId)
  if (request.method === "DELETE") return abort(request, uploadId)
  return undefined
}
