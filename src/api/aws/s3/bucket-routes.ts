import { ServiceError } from "../../../errors.ts"
import { compareKeys, placeOfKey } from "../../../store/key-order.ts"
import type { StoredObject } from "../../../store/stored-object.ts"
import { awsEncode } from "../canonical.ts"
import { asks, query, type S3Request, type S3Route } from "./request.ts"
import { element, toXml } from "./xml.ts"

const xmlHeaders = { "content-type": "application/xml" }
const maxKeysPerPage = 1000

/** Buckets of the account. */
export const serviceRoute: S3Route = (request) => (request.method === "GET" ? listBuckets(request) : undefined)

/** All of them, as clients that know no pages expect; or as many as are asked for. */
const listBuckets = async (request: S3Request) => {
  const { store, account } = request
  const [prefix = "", token] = [query(request, "prefix"), query(request, "continuation-token")]
  const limit = parseMaxBuckets(query(request, "max-buckets"))
  const after = parseToken(token) ?? ""
  const all = store.buckets(account).filter(({ name }) => name.startsWith(prefix) && name > after)
  const next = all.length > limit ? all[limit - 1]?.name : undefined
  const buckets = all
    .slice(0, limit)
    .map(({ name, createdAt }) => element("Bucket", [element("Name", name), element("CreationDate", createdAt)]))
  const body = toXml(
    element("ListAllMyBucketsResult", [
      toOwner(account),
      element("Buckets", buckets),
      prefix === "" ? undefined : element("Prefix", prefix),
      next === undefined ? undefined : element("ContinuationToken", toToken(next)),
    ]),
  )
  return new Response(body, { headers: xmlHeaders })
}

const parseMaxBuckets = (text: string | undefined) => {
  if (text === undefined) return Infinity
  if (/^[1-9]\d{0,4}$/.test(text) && Number(text) <= 10_000) return Number(text)
  throw new ServiceError("InvalidArgument", 400, "max-buckets must be an integer between 1 and 10000")
}

const parseMaxKeys = (text: string | undefined) => {
  if (text === undefined) return maxKeysPerPage
  if (!/^\d{1,9}$/.test(text))
    throw new ServiceError("InvalidArgument", 400, "max-keys must be an integer between 0 and 2147483647")
  return Math.min(Number(text), maxKeysPerPage)
}

const toToken = (after: string) => Buffer.from(after).toString("base64url")

const parseToken = (token: string | undefined) => {
  if (token === undefined) return undefined
  const after = Buffer.from(token, "base64url")
  if (after.toString("base64url") !== token || token === "") {
    throw new ServiceError("InvalidArgument", 400, "The continuation token provided is incorrect")
  }
  return after.toString("utf8")
}

const startOfPage = (keys: readonly string[], prefix: string, after: string) => {
  if (after === "" || compareKeys(after, prefix) < 0) return placeOfKey(keys, prefix)
  const place = placeOfKey(keys, after)
  return keys[place] === after ? place + 1 : place
}

/** A page of keys and of the prefixes that a delimiter rolls them up to; a rolled-up prefix counts as one. */
const choosePage = (
  keys: readonly string[],
  { prefix, delimiter, after, limit }: { prefix: string; delimiter: string; after: string; limit: number },
) => {
  const chosen: string[] = []
  const prefixes = new Set<string>()
  let last = after
  for (let index = startOfPage(keys, prefix, after); index < keys.length; index++) {
    const key = keys[index] ?? ""
    if (!key.startsWith(prefix)) break
    const cut = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length)
    const rolled = cut === -1 ? undefined : key.slice(0, cut + delimiter.length)
    // The page before ended in this very prefix.
    if (rolled !== undefined && (prefixes.has(rolled) || (after !== "" && after.startsWith(rolled)))) {
      last = key
      continue
    }
    if (chosen.length + prefixes.size >= limit) return { chosen, prefixes: [...prefixes], next: last }
    if (rolled === undefined) chosen.push(key)
    else prefixes.add(rolled)
    last = key
  }
  return { chosen, prefixes: [...prefixes], next: undefined }
}

const toOwner = (account: string) => element("Owner", [element("ID", account), element("DisplayName", account)])

const toContents = (object: StoredObject, encode: (text: string) => string, owner: string | undefined) =>
  element("Contents", [
    element("Key", encode(object.key)),
    element("LastModified", object.modifiedAt),
    element("ETag", `"${object.etag}"`),
    object.checksum ? element("ChecksumAlgorithm", object.checksum.algorithm) : undefined,
    object.checksum ? element("ChecksumType", object.checksum.type) : undefined,
    element("Size", object.bytes),
    element("StorageClass", "STANDARD"),
    owner === undefined ? undefined : toOwner(owner),
  ])

const listObjects = async (request: S3Request) => {
  const bucket = request.store.bucket(request.account, request.bucket)
  const prefix = query(request, "prefix") ?? ""
  const delimiter = query(request, "delimiter") ?? ""
  const token = query(request, "continuation-token")
  const startAfter = query(request, "start-after")
  const limit = parseMaxKeys(query(request, "max-keys"))
  const encodingType = query(request, "encoding-type")
  if (encodingType !== undefined && encodingType !== "url")
    throw new ServiceError("InvalidArgument", 400, "Invalid Encoding Method specified in Request")
  const owner = query(request, "fetch-owner") === "true" ? request.account : undefined
  const encode = (text: string) => (encodingType === "url" ? text.split("/").map(awsEncode).join("/") : text)
  const { chosen, prefixes, next } =
    limit === 0
      ? { chosen: [], prefixes: [], next: undefined }
      : choosePage(bucket.sortedKeys(), { prefix, delimiter, after: parseToken(token) ?? startAfter ?? "", limit })
  const body = toXml(
    element("ListBucketResult", [
      element("Name", request.bucket),
      element("Prefix", encode(prefix)),
      delimiter === "" ? undefined : element("Delimiter", encode(delimiter)),
      startAfter === undefined ? undefined : element("StartAfter", encode(startAfter)),
      token === undefined ? undefined : element("ContinuationToken", token),
      next === undefined ? undefined : element("NextContinuationToken", toToken(next)),
      encodingType === undefined ? undefined : element("EncodingType", encodingType),
      element("KeyCount", chosen.length + prefixes.length),
      element("MaxKeys", limit),
      element("IsTruncated", next !== undefined),
      ...chosen.flatMap((key) => {
        const object = bucket.objects.get(key)
        return object ? [toContents(object, encode, owner)] : []
      }),
      ...prefixes.map((rolled) => element("CommonPrefixes", [element("Prefix", encode(rolled))])),
    ]),
  )
  return new Response(body, { headers: xmlHeaders })
}

const createBucket = async ({ store, account, bucket }: S3Request) => {
  await store.createBucket(account, bucket)
  return new Response(null, { headers: { location: `/${bucket}` } })
}

const headBucket = async ({ store, account, bucket, region }: S3Request) => {
  store.bucket(account, bucket)
  return new Response(null, { headers: { "x-amz-bucket-region": region } })
}

const getLocation = async ({ store, account, bucket, region }: S3Request) => {
  store.bucket(account, bucket)
  return new Response(toXml(element("LocationConstraint", region)), { headers: xmlHeaders })
}

const deleteBucket = async ({ store, account, bucket }: S3Request) => {
  await store.deleteBucket(account, bucket)
  return new Response(null, { status: 204 })
}

/** What is done to one bucket. */
export const bucketRoute: S3Route = (request) => {
  const { method } = request
  if (method === "PUT") return createBucket(request)
  if (method === "HEAD") return headBucket(request)
  if (method === "DELETE") return deleteBucket(request)
  if (method === "GET" && asks(request, "location")) return getLocation(request)
  if (method === "GET" && query(request, "list-type") === "2") return listObjects(request)
  return undefined
}
