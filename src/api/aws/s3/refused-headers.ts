import { ServiceError } from "../../../errors.ts"

/** Members of requests that S3 has as headers and that would silently do nothing here, with the values that ask for nothing more. */
const refused: Readonly<Record<string, readonly string[]>> = {
  "x-amz-acl": ["private", "bucket-owner-full-control"],
  "x-amz-bucket-object-lock-enabled": ["false"],
  "x-amz-copy-source": [],
  "x-amz-object-lock-legal-hold": ["OFF"],
  "x-amz-object-lock-mode": [],
  "x-amz-object-lock-retain-until-date": [],
  "x-amz-server-side-encryption": [],
  "x-amz-server-side-encryption-customer-algorithm": [],
  "x-amz-server-side-encryption-customer-key": [],
  "x-amz-storage-class": ["STANDARD"],
  "x-amz-tagging": [""],
  "x-amz-website-redirect-location": [],
  "x-amz-write-offset-bytes": [],
}
/** Conditions that only some of S3's methods know: ignored, the request would be done whatever they say. */
const conditions: Readonly<Record<string, readonly string[]>> = {
  DELETE: ["if-match", "x-amz-if-match-last-modified-time", "x-amz-if-match-size"],
}

const notImplemented = (name: string, value: string) =>
  new ServiceError(
    "NotImplemented",
    501,
    `A header you provided implies functionality that is not implemented: ${name}: ${value.slice(0, 128)}. Leave it out.`,
  )

/** Refuses a request that asks, in a header, for what isn't done, or that is meant for somebody else's bucket. */
export const refuseHeaders = (method: string, headers: Headers, account: string): void => {
  for (const [name, value] of headers) {
    if (name.startsWith("x-amz-grant-")) throw notImplemented(name, value)
    const accepted = Object.hasOwn(refused, name) ? refused[name] : undefined
    if (accepted !== undefined && !accepted.includes(value)) throw notImplemented(name, value)
    if (conditions[method]?.includes(name) === true) throw notImplemented(name, value)
  }
  const owner = headers.get("x-amz-expected-bucket-owner")
  if (owner !== null && owner !== account) throw new ServiceError("AccessDenied", 403, "Access Denied")
}
