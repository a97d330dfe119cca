import { randomBytes } from "node:crypto"
import type { Context } from "hono"
import { ServiceError } from "../../../errors.ts"
import type { ArtifactStore } from "../../../store/artifact-store.ts"
import type { ServiceContext } from "../json-service.ts"
import type { BodyPart } from "../body-room.ts"
import { bodyStream, rawTarget, type ApiEnv } from "../request-body.ts"
import { parseTarget, queryValue } from "../target.ts"
import { bucketRoute, serviceRoute } from "./bucket-routes.ts"
import { toS3ErrorAnswer } from "./errors.ts"
import { multipartRoute } from "./multipart-routes.ts"
import { objectRoute } from "./object-routes.ts"
import { claimedPayloadHash, openPayload, type Payload } from "./payload.ts"
import { refuseHeaders } from "./refused-headers.ts"
import { asks, parsePlace, type S3Request } from "./request.ts"

/** Query members that would make another operation of a request; one of them that no route takes is refused, never ignored. */
const subresources = [
  "accelerate",
  "acl",
  "analytics",
  "attributes",
  "cors",
  "delete",
  "encryption",
  "intelligent-tiering",
  "inventory",
  "legal-hold",
  "lifecycle",
  "location",
  "logging",
  "metrics",
  "notification",
  "object-lock",
  "ownershipControls",
  "partNumber",
  "policy",
  "publicAccessBlock",
  "replication",
  "requestPayment",
  "restore",
  "retention",
  "select",
  "tagging",
  "torrent",
  "uploadId",
  "uploads",
  "versioning",
  "versionId",
  "versions",
  "website",
]

const maxDocumentBytes = 4 * 1024 * 1024
/** A document that isn't there by then is not waited for. */
const documentMs = 30_000

const readDocument = async ({ body }: Payload, part: BodyPart) => {
  const pieces: Uint8Array[] = []
  let bytes = 0
  for await (const piece of body) {
    bytes += piece.length
    if (bytes > maxDocumentBytes) throw new ServiceError("MaxMessageLengthExceeded", 400, "Your request was too large.")
    part.add(piece.length)
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString("utf8")
}

const route = (request: S3Request): Promise<Response> => {
  const { method, bucket, key } = request
  const asked = subresources.filter((name) => asks(request, name))
  const known =
    key !== "" ? ["uploads", "uploadId", "partNumber"] : bucket !== "" && method === "GET" ? ["location"] : []
  const answer = asked.every((name) => known.includes(name))
    ? (bucket === "" ? serviceRoute : key === "" ? bucketRoute : asked.length > 0 ? multipartRoute : objectRoute)(
        request,
      )
    : undefined
  if (answer === undefined) throw new ServiceError("NotImplemented", 501, "This operation is not implemented.")
  return answer
}

/** The artifact store as an S3 endpoint, path-style: what the AWS SDKs, lib-storage and the CLI send, and no more. */
export const createS3Service =
  (store: ArtifactStore, { verifier, log, bodies }: ServiceContext) =>
  async (c: Context<ApiEnv>, requestId: string): Promise<Response> => {
    const { method } = c.req
    const { headers, signal } = c.req.raw
    const raw = rawTarget(c)
    try {
      const target = parseTarget(raw)
      const presigned = !headers.has("authorization") && queryValue(target, "X-Amz-Signature") !== undefined
      const candidate = await verifier.open({ method, target, headers }, ["s3"])
      const claimed = claimedPayloadHash(headers, presigned)
      const identity = candidate.confirm(claimed)
      refuseHeaders(method, headers, identity.account)
      // Only a route that wants the body touches the stream: asking for it is what lets a waiting client send.
      let opened: Payload | undefined
      const open = () => (opened ??= openPayload(bodyStream(c), headers, claimed, identity))
      const request: S3Request = {
        method,
        target,
        headers,
        ...parsePlace(target),
        account: identity.account,
        region: identity.region,
        store,
        get payload() {
          return open()
        },
        readAll() {
          const part = bodies.open()
          // Without a connection, as in tests, nothing says when it is answered.
          c.env?.outgoing?.once("close", part.release)
          const timer = setTimeout(() => c.env?.incoming?.destroy(new Error("too slow")), documentMs)
          return readDocument(open(), part).finally(() => clearTimeout(timer))
        },
        signal,
      }
      const answer = await route(request)
      answer.headers.set("x-amz-request-id", requestId)
      answer.headers.set("x-amz-id-2", randomBytes(16).toString("base64"))
      return answer
    } catch (error) {
      const abandoned = signal.aborted || c.env?.incoming?.destroyed === true
      return toS3ErrorAnswer(error, { method, path: raw.split("?")[0] ?? "", requestId, abandoned }, log)
    }
  }
