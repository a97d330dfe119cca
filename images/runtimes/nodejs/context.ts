import type { IncomingHttpHeaders } from "node:http"

/** What a handler is told of its invocation beside the event. */
export interface Context {
  callbackWaitsForEmptyEventLoop?: boolean
  readonly functionName: string | undefined
  readonly functionVersion: string | undefined
  readonly memoryLimitInMB: string | undefined
  readonly logGroupName: string | undefined
  readonly logStreamName: string | undefined
  readonly clientContext: unknown
  readonly identity: unknown
  readonly invokedFunctionArn: string
  readonly awsRequestId: string
  readonly tenantId: string | undefined
  getRemainingTimeInMillis(): number
}

/** The context of the event with these headers. */
export const toContext = (headers: IncomingHttpHeaders, env: NodeJS.ProcessEnv): Context => {
  const deadline = Number(headers["lambda-runtime-deadline-ms"])
  const text = (name: string) => {
    const value = headers[name]
    // A header's bytes are UTF-8, which Node doesn't know.
    return typeof value === "string" ? Buffer.from(value, "latin1").toString("utf8") : undefined
  }
  const json = (name: string): unknown => {
    const value = text(name)
    return value === undefined || value === "" ? undefined : JSON.parse(value)
  }
  return {
    functionName: env["AWS_LAMBDA_FUNCTION_NAME"],
    functionVersion: env["AWS_LAMBDA_FUNCTION_VERSION"],
    memoryLimitInMB: env["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"],
    logGroupName: env["AWS_LAMBDA_LOG_GROUP_NAME"],
    logStreamName: env["AWS_LAMBDA_LOG_STREAM_NAME"],
    clientContext: json("lambda-runtime-client-context"),
    identity: json("lambda-runtime-cognito-identity"),
    invokedFunctionArn: text("lambda-runtime-invoked-function-arn") ?? "",
    awsRequestId: text("lambda-runtime-aws-request-id") ?? "",
    tenantId: text("lambda-runtime-aws-tenant-id"),
    getRemainingTimeInMillis: () => deadline - Date.now(),
  }
}
