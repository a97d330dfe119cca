import type { AsyncIntake } from "../../../../../machines/functions/events/intake.ts"
import type { Invoker, InvokeRequest } from "../../../../../machines/functions/invoking/invoker.ts"
import { lineageOf } from "../../../../../machines/functions/lineage.ts"
import { invalid } from "../../../../../machines/functions/refusals.ts"
import { ServiceError } from "../../../../errors.ts"
import { operation, type Call, type Operation } from "../../operation.ts"
import type { ValueOf } from "../../shape.ts"
import { parseFunction } from "../identifiers.ts"
import { toStreamedAnswer, toWholeAnswer } from "./invoke-answers.ts"
import { invokeAsyncInput, invokeInput, invokeStreamInput } from "./invoke-shapes.ts"
import { MAX_PAYLOAD_BYTES, parseClientContext, parsePayload, parseTraceId, payloadTooLarge } from "./payload.ts"

const payload = { maxBodyBytes: MAX_PAYLOAD_BYTES, tooLarge: payloadTooLarge, payload: "Payload" } as const

const refuseMembers = (tenantId: string | undefined, executionName?: string) => {
  if (tenantId !== undefined)
    throw invalid("TenantId isn't supported by Torpor: no function is made with tenant isolation; leave it out.")
  if (executionName !== undefined)
    throw invalid("DurableExecutionName isn't supported by Torpor: no function is durable; leave it out.")
}

const toRequest = (
  input: Pick<ValueOf<typeof invokeStreamInput>, "FunctionName" | "Qualifier" | "ClientContext" | "Payload">,
  mode: InvokeRequest["mode"],
  { caller, headers }: Call,
): InvokeRequest => {
  const traceId = parseTraceId(headers)
  return {
    requestId: caller.requestId,
    target: parseFunction(input.FunctionName, input.Qualifier, caller),
    scope: { account: caller.account, region: caller.region },
    payload: parsePayload(input.Payload),
    mode,
    clientContext: parseClientContext(input.ClientContext),
    traceId,
    lineage: traceId === undefined ? undefined : lineageOf(traceId),
  }
}

/** What was given up because its caller has gone is the caller's doing, not an error inside. */
const unlessGone = async ({ gone }: Call, answer: () => Promise<Response>): Promise<Response> => {
  try {
    return await answer()
  } catch (error) {
    if (gone.aborted) throw new ServiceError("RequestTimeoutException", 408, "The caller has gone.")
    throw error
  }
}

/** The operations that give functions events. */
export const createInvokeOperations = (invoker: Invoker, intake: AsyncIntake): Operation[] => [
  operation(
    "Invoke",
    { method: "POST", path: "/2015-03-31/functions/{FunctionName}/invocations", status: 200, ...payload },
    invokeInput,
    async (input, call) => {
      refuseMembers(input.TenantId, input.DurableExecutionName)
      const type = input.InvocationType ?? "RequestResponse"
      // A context is only for who is answered.
      const request = toRequest(type === "Event" ? { ...input, ClientContext: undefined } : input, "buffered", call)
      if (type === "DryRun") {
        await invoker.check(request.target, request.scope)
        return new Response(null, { status: 204 })
      }
      if (type === "Event") {
        await intake.accept(request)
        return new Response(null, { status: 202 })
      }
      call.patient()
      return unlessGone(call, async () =>
        toWholeAnswer(await invoker.invoke(request, call.gone), input.LogType === "Tail", call.gone),
      )
    },
  ),

  operation(
    "InvokeWithResponseStream",
    {
      method: "POST",
      path: "/2021-11-15/functions/{FunctionName}/response-streaming-invocations",
      status: 200,
      ...payload,
    },
    invokeStreamInput,
    async (input, call) => {
      refuseMembers(input.TenantId)
      const request = toRequest(input, "streaming", call)
      if (input.InvocationType === "DryRun") {
        await invoker.check(request.target, request.scope)
        return new Response(null, { status: 204 })
      }
      call.patient()
      return unlessGone(call, async () =>
        toStreamedAnswer(await invoker.invoke(request, call.gone), input.LogType === "Tail"),
      )
    },
  ),

  operation(
    "InvokeAsync",
    { method: "POST", path: "/2014-11-13/functions/{FunctionName}/invoke-async", status: 202, payload: "InvokeArgs" },
    invokeAsyncInput,
    async ({ FunctionName, InvokeArgs }, call) => {
      const asked = { FunctionName, Qualifier: undefined, ClientContext: undefined, Payload: InvokeArgs }
      await intake.accept(toRequest(asked, "buffered", call))
      return { Status: 202 }
    },
  ),
]
