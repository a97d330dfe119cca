import type { Event } from "./channel.ts"

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

/** The context of an event. */
export const toContext = (event: Event, env: NodeJS.ProcessEnv): Context => ({
  functionName: env["AWS_LAMBDA_FUNCTION_NAME"],
  functionVersion: env["AWS_LAMBDA_FUNCTION_VERSION"],
  memoryLimitInMB: env["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"],
  logGroupName: env["AWS_LAMBDA_LOG_GROUP_NAME"],
  logStreamName: env["AWS_LAMBDA_LOG_STREAM_NAME"],
  clientContext: parsed(event.clientContext),
  identity: parsed(event.cognitoIdentity),
  invokedFunctionArn: event.functionArn,
  awsRequestId: event.requestId,
  tenantId: event.tenantId,
  getRemainingTimeInMillis: () => event.deadlineMs - Date.now(),
})

const parsed = (json: string | undefined): unknown => (json === undefined || json === "" ? undefined : JSON.parse(json))
