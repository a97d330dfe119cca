import { Readable } from "node:stream"
import { ServiceError } from "../../../errors.ts"
import {
  checkConditions,
  parseObjectHeaders,
  parseRange,
  toChecksumHeaders,
  toObjectHeaders,
} from "./object-headers.ts"
import { placeOf, query, type S3Request, type S3Route } from "./request.ts"

const OVERRIDABLE = [
  "cache-control",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-type",
  "expires",
]

/** Whether an upload may only make what isn't there yet. */
export const isIfAbsent = (headers: Headers): boolean => {
  const condition = headers.get("if-none-match")
  if (condition !== null && condition !== "*")
    throw new ServiceError("NotImplemented", 501, "An upload's If-None-Match can only be *.")
  if (headers.has("if-match")) throw new ServiceError("NotImplemented", 501, "An upload's If-Match is not supported.")
  return condition === "*"
}

const put = async (request: S3Request) => {
  const { headers, payload, store, signal } = request
  const object = await store.put(
    ...placeOf(request),
    payload.body,
    {
      headers: parseObjectHeaders(headers),
      algorithm: payload.algorithm,
      expected: payload.expected,
      ifAbsent: isIfAbsent(headers),
    },
    signal,
  )
  return new Response(null, { headers: { etag: `"${object.etag}"`, ...toChecksumHeaders(object) } })
}

const wantsChecksum = (headers: Headers) => headers.get("x-amz-checksum-mode")?.toUpperCase() === "ENABLED"

const get = async (request: S3Request) => {
  const { headers, store, signal } = request
  const { object, file } = await store.open(...placeOf(request))
  try {
    checkConditions(headers, object)
    const range = parseRange(headers.get("range"), object.bytes)
    const { start, end } = range ?? { start: 0, end: object.bytes - 1 }
    const shown = {
      ...toObjectHeaders(object, wantsChecksum(headers) && range === undefined),
      ...parseOverrides(request),
      "content-length": String(end - start + 1),
      ...(range ? { "content-range": `bytes ${start}-${end}/${object.bytes}` } : {}),
    }
    const status = range ? 206 : 200
    if (object.bytes === 0) {
      await file.close()
      return new Response(null, { status, headers: shown })
    }
    const stream = file.createReadStream({ start, end, highWaterMark: 256 * 1024, signal })
    return new Response(Readable.toWeb(stream) as ReadableStream<Uint8Array>, { status, headers: shown })
  } catch (error) {
    await file.close()
    throw error
  }
}

/** What a request wants said of an object instead of what was given with it: `response-content-type` and its like. */
const parseOverrides = (request: S3Request): Record<string, string> => {
  const said: Record<string, string> = {}
  for (const name of OVERRIDABLE) {
    const value = query(request, `response-${name}`)
    if (value === undefined) continue
    if (!/^[\x20-\x7e]*$/.test(value))
      throw new ServiceError("InvalidArgument", 400, `response-${name} must be printable ASCII.`)
    said[name] = value
  }
  return said
}

const head = async (request: S3Request) => {
  const object = request.store.head(...placeOf(request))
  checkConditions(request.headers, object)
  const range = parseRange(request.headers.get("range"), object.bytes)
  const headers = {
    ...toObjectHeaders(object, wantsChecksum(request.headers) && range === undefined),
    ...parseOverrides(request),
    "content-length": String(range ? range.end - range.start + 1 : object.bytes),
    ...(range ? { "content-range": `bytes ${range.start}-${range.end}/${object.bytes}` } : {}),
  }
  return new Response(null, { status: range ? 206 : 200, headers })
}

const remove = async (request: S3Request) => {
  await request.store.delete(...placeOf(request))
  return new Response(null, { status: 204 })
}

/** What is done to one object. */
export const objectRoute: S3Route = (request) => {
  switch (request.method) {
    case "PUT":
      return put(request)
    case "GET":
      return get(request)
    case "HEAD":
      return head(request)
    case "DELETE":
      return remove(request)
    default:
      return undefined
  }
}
