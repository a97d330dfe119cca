import { createHash } from "node:crypto"
import type { Context } from "hono"
import { ServiceError } from "../../errors.ts"
import type { Log } from "../../log.ts"
import type { BodyRoom } from "./body-room.ts"
import { findOperation, type Call, type Operation } from "./operation.ts"
import { goneSignal, rawTarget, readBody, type ApiEnv } from "./request-body.ts"
import { SignatureRefusal } from "./signature-refusal.ts"
import type { Verifier } from "./sigv4.ts"
import { parseTarget, type Target } from "./target.ts"
import { toAnswer, toErrorAnswer, type Dialect } from "./wire.ts"

/** What every signed route needs. */
export interface ServiceContext {
  readonly verifier: Verifier
  readonly log: Log
  readonly maxBodyBytes: number
  readonly bodies: BodyRoom
}

export interface SignedCall extends Call {
  readonly target: Target
  readonly body: Buffer
}

const sha256Hex = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex")

/**
 * Reads a signed request whole and proves who sent it: before its body is read where it says that body's hash, as all SDKs but a few do.
 * Throws {@link SignatureRefusal}.
 */
export const openSignedCall = async (
  c: Context<ApiEnv>,
  context: ServiceContext,
  services: readonly string[],
  requestId: string,
  maxBodyBytes = context.maxBodyBytes,
): Promise<SignedCall> => {
  const target = parseTarget(rawTarget(c))
  const { headers } = c.req.raw
  const candidate = await context.verifier.open({ method: c.req.method, target, headers }, services)
  const claimed = headers.get("x-amz-content-sha256")
  if (claimed !== null) candidate.confirm(claimed)
  const body = await readBody(c, context.bodies, maxBodyBytes)
  const payloadHash = sha256Hex(body)
  if (claimed !== null && claimed !== payloadHash) {
    throw new SignatureRefusal(
      "payload",
      "The value passed in as x-amz-content-sha256 does not match the SHA256 hash of the request payload.",
    )
  }
  const identity = candidate.confirm(payloadHash)
  const { accessKeyId, account, region } = identity
  const host = headers.get("host") ?? ""
  return {
    target,
    body,
    identity,
    host,
    headers,
    gone: goneSignal(c),
    patient: () => void c.env?.incoming?.socket.setTimeout(0).setKeepAlive(true, 60_000),
    caller: { accessKeyId, account, region, requestId },
  }
}

/** An operation with a limit of its own names itself when it is passed. */
const tooLargeFor = ({ name, tooLarge }: Operation, maxBytes: number, error: unknown) =>
  error instanceof ServiceError && error.status === 413
    ? (tooLarge?.() ??
      new ServiceError(
        "RequestEntityTooLargeException",
        413,
        `Request must be smaller than ${maxBytes} bytes for the ${name} operation`,
      ))
    : error

/** Serves a rest-json service's operations, whatever its dialect: verified, dispatched by method and path, answered. */
export const createJsonService =
  (services: readonly string[], dialect: Dialect, operations: readonly Operation[], context: ServiceContext) =>
  async (c: Context<ApiEnv>, requestId: string): Promise<Response> => {
    try {
      const found = findOperation(operations, c.req.method, parseTarget(rawTarget(c)))
      const maxBytes = found?.operation.maxBodyBytes
      const call = await openSignedCall(c, context, services, requestId, maxBytes).catch((error: unknown) => {
        throw found && maxBytes !== undefined ? tooLargeFor(found.operation, maxBytes, error) : error
      })
      if (!found) {
        throw new ServiceError(
          "UnknownOperationException",
          404,
          `There is no operation at ${c.req.method} ${call.target.path.slice(0, 512)}.`,
        )
      }
      const { operation, labels } = found
      const body = await operation.run(labels, call.target, call.body, call)
      context.log.debug({ requestId, operation: operation.name, accessKeyId: call.caller.accessKeyId }, "answered")
      return toAnswer(operation.status, body, dialect, requestId)
    } catch (error) {
      return toErrorAnswer(error, dialect, requestId, context.log)
    }
  }
