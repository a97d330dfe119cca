import { ServiceError } from "../../../errors.ts"
import type { StoredObject } from "../../../store/stored-object.ts"

const kept = ["content-type", "cache-control", "content-disposition", "content-language", "expires"]
/** Of all `x-amz-meta-*`, and of the other headers that are kept: they are in memory for as long as their object is there. */
const maxMetadataBytes = 2 * 1024

/** The headers of an upload that belong to the object and come back with it. */
export const parseObjectHeaders = (headers: Headers): Record<string, string> => {
  const own: Record<string, string> = {}
  let [metadataBytes, otherBytes] = [0, (headers.get("content-encoding") ?? "").length]
  for (const [name, value] of headers) {
    if (name.startsWith("x-amz-meta-")) metadataBytes += name.length + value.length
    else if (kept.includes(name)) otherBytes += value.length
    else continue
    own[name] = value
  }
  if (metadataBytes > maxMetadataBytes || otherBytes > maxMetadataBytes) {
    throw new ServiceError("MetadataTooLarge", 400, "Your metadata headers exceed the maximum allowed metadata size")
  }
  // `aws-chunked` is how it travelled, not what it is.
  const encoding = (headers.get("content-encoding") ?? "")
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "" && part !== "aws-chunked")
  if (encoding.length > 0) own["content-encoding"] = encoding.join(",")
  return own
}

/** The checksum's own header, when an object has one. */
export const toChecksumHeaders = ({ checksum }: Pick<StoredObject, "checksum">): Record<string, string> =>
  checksum === null
    ? {}
    : { [`x-amz-checksum-${checksum.algorithm.toLowerCase()}`]: checksum.value, "x-amz-checksum-type": checksum.type }

/** What GET and HEAD say of an object beside its bytes. */
export const toObjectHeaders = (object: StoredObject, withChecksum: boolean): Record<string, string> => ({
  "content-type": "binary/octet-stream",
  ...object.headers,
  "accept-ranges": "bytes",
  etag: `"${object.etag}"`,
  "last-modified": object.modifiedAt.toUTCString(),
  ...(withChecksum ? toChecksumHeaders(object) : {}),
})

/** Both ends included; `undefined` for the whole. Throws InvalidRange for what isn't in the object. */
export const parseRange = (range: string | null, bytes: number): { start: number; end: number } | undefined => {
  const [, from = "", to = ""] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(range?.trim() ?? "") ?? []
  if (from === "" && to === "") return undefined
  const start = from === "" ? Math.max(bytes - Number(to), 0) : Number(from)
  const end = from === "" || to === "" ? bytes - 1 : Math.min(Number(to), bytes - 1)
  if (from !== "" && to !== "" && Number(to) < Number(from)) return undefined
  if (start >= bytes || (from === "" && Number(to) === 0))
    throw new ServiceError("InvalidRange", 416, "The requested range is not satisfiable")
  return { start, end }
}

/** Refuses what `If-Match`, `If-None-Match` and their likes of times rule out: 412, or 304 for what the client has already. */
export const checkConditions = (headers: Headers, object: StoredObject): void => {
  const names = (header: string) => {
    const text = headers.get(header)
    return text?.split(",").some((tag) => ["*", object.etag].includes(tag.trim().replace(/^(?:W\/)?"(.*)"$/, "$1")))
  }
  // To the second, as its own Last-Modified says it; what is no date asks for nothing.
  const modified = Math.floor(object.modifiedAt.getTime() / 1000) * 1000
  const since = (header: string) => Date.parse(headers.get(header) ?? "")
  const [matches, unmodifiedSince] = [names("if-match"), since("if-unmodified-since")]
  if (matches === false || (matches === undefined && modified > unmodifiedSince)) {
    throw new ServiceError("PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold")
  }
  const [isSame, modifiedSince] = [names("if-none-match"), since("if-modified-since")]
  if (isSame === true || (isSame === undefined && modified <= modifiedSince))
    throw new ServiceError("NotModified", 304, "Not Modified")
}
