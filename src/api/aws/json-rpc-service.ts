import type { Context } from "hono"
import { ServiceError } from "../../errors.ts"
import { openSignedCall, type ServiceContext } from "./json-service.ts"
import { operation, type Body, type Call, type Operation } from "./operation.ts"
import type { ApiEnv } from "./request-body.ts"
import type { StructureShape, ValueOf } from "./shape.ts"
import { SignatureRefusal, toJsonRefusal } from "./signature-refusal.ts"
import { toAnswer, toErrorAnswer, type Dialect } from "./wire.ts"

/** An operation of a service of AWS JSON 1.1: all are POST /, and their names are in a header. */
export const rpcOperation = <Members extends StructureShape>(
  name: string,
  input: Members,
  answer: (input: ValueOf<Members>, call: Call) => Promise<Body>,
): Operation => operation(name, { method: "POST", path: "/", status: 200 }, input, answer)

/** In AWS JSON 1.1 every refusal is 400, and its name is in the body. */
const rpcDialect: Dialect = {
  absent: "omitted",
  contentType: "application/x-amz-json-1.1",
  messageMember: () => "message",
  errorMembers: (_status, code) => ({ __type: code }),
  internalError: "InternalServerException",
}

export interface JsonRpcService {
  /** As signatures are scoped to it. */
  readonly name: string
  /** Before the operation's name in `X-Amz-Target`. */
  readonly targetPrefix: string
  readonly operations: readonly Operation[]
  /** What a broken constraint is called there. */
  readonly invalidInput: string
}

/** Serves a service of AWS JSON 1.1: verified, dispatched by `X-Amz-Target`, answered. */
export const createJsonRpcService =
  ({ name, targetPrefix, operations, invalidInput }: JsonRpcService, context: ServiceContext) =>
  async (c: Context<ApiEnv>, requestId: string): Promise<Response> => {
    try {
      const call = await openSignedCall(c, context, [name], requestId)
      const target = c.req.header("x-amz-target") ?? ""
      const found = operations.find((candidate) => target === `${targetPrefix}.${candidate.name}`)
      if (found === undefined || c.req.method !== "POST" || call.target.path !== "/")
        throw new ServiceError(
          "UnknownOperationException",
          400,
          `There is no operation ${target.slice(0, 256)} here: it has ${operations.map((known) => known.name).join(", ")}.`,
        )
      const body = await found.run({}, call.target, call.body, call)
      context.log.debug({ requestId, operation: found.name, accessKeyId: call.caller.accessKeyId }, "answered")
      return toAnswer(found.status, body, rpcDialect, requestId)
    } catch (error) {
      return toErrorAnswer(inRpcWords(error, invalidInput), rpcDialect, requestId, context.log)
    }
  }

const inRpcWords = (error: unknown, invalidInput: string): unknown => {
  const known = error instanceof SignatureRefusal ? toJsonRefusal(error) : error
  if (!(known instanceof ServiceError) || known.status >= 500) return known
  const code = known.code === "ValidationException" ? invalidInput : known.code
  return new ServiceError(code, 400, known.message)
}
