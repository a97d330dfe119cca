/** Inputs of invocations. */
import { ofNamespaced, ofQualifier } from "../fields.ts"
import { blob, oneOf, optional, required, string, structure } from "../../shape.ts"

const header = {
  LogType: optional(oneOf("None", "Tail"), "header", "x-amz-log-type"),
  ClientContext: optional(string(), "header", "x-amz-client-context"),
  TenantId: optional(string({ min: 1, max: 256, pattern: "[a-zA-Z0-9\\._:\\/=+\\-@ ]+" }), "header", "x-amz-tenant-id"),
} as const

export const invokeInput = structure({
  ...ofQualifier,
  ...header,
  InvocationType: optional(oneOf("Event", "RequestResponse", "DryRun"), "header", "x-amz-invocation-type"),
  DurableExecutionName: optional(
    string({ min: 1, max: 64, pattern: "[a-zA-Z0-9-_]+" }),
    "header",
    "x-amz-durable-execution-name",
  ),
  Payload: optional(blob()),
})

export const invokeStreamInput = structure({
  ...ofQualifier,
  ...header,
  InvocationType: optional(oneOf("RequestResponse", "DryRun"), "header", "x-amz-invocation-type"),
  Payload: optional(blob()),
})

export const invokeAsyncInput = structure({ ...ofNamespaced, InvokeArgs: required(blob()) })
