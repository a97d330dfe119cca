/** The words and documents that columns about functions hold. States are AWS's own. */
export const functionStates = ["Pending", "Active", "Failed"] as const
export const updateStates = ["InProgress", "Successful", "Failed"] as const
export const recursiveLoops = ["Allow", "Terminate"] as const
export const urlAuthTypes = ["NONE", "AWS_IAM"] as const
export const invokeModes = ["BUFFERED", "RESPONSE_STREAM"] as const
export const initializations = ["on-demand", "provisioned-concurrency", "snap-start"] as const
export const eventKinds = ["invocation", "destination", "dead-letter"] as const
export const runtimeUpdates = ["Auto", "FunctionUpdate", "Manual"] as const

export interface FunctionLogging {
  format: "Text" | "JSON"
  applicationLevel: string | null
  systemLevel: string | null
  /** `null`: the function's own, `/aws/lambda/<name>`. */
  group: string | null
}

/** How a version runs, beside its code and its environment variables. */
export interface FunctionSettings {
  runtime: string
  handler: string
  role: string
  description: string
  timeoutSeconds: number
  memoryMiB: number
  temporaryMiB: number
  architectures: string[]
  /** ARNs of layer versions, the lowest first. */
  layers: string[]
  logging: FunctionLogging
  tracing: "Active" | "PassThrough"
  deadLetterArn: string | null
  kmsKeyArn: string | null
  /** Whether a VpcConfig was given; ours are empty. */
  vpc: boolean
  /** SnapStart on published versions; left out without it, as in settings that were written before there was any. */
  snapStart?: true
}

export interface EventDestinations {
  onSuccess: string | null
  onFailure: string | null
}

/** How often functions were invoked in a chain, by the first eight digits of their ids. */
export type Lineage = Readonly<Record<string, number>>

/** What a dead letter says of the event that is its body. */
export interface DeadLetterAttributes {
  requestId: string
  /** An HTTP status: 200 when the function itself has failed. */
  errorCode: number
  errorMessage: string
}

export interface UrlCors {
  AllowCredentials?: boolean | undefined
  AllowHeaders?: string[] | undefined
  AllowMethods?: string[] | undefined
  AllowOrigins?: string[] | undefined
  ExposeHeaders?: string[] | undefined
  MaxAge?: number | undefined
}

/** One statement of a resource policy, as AWS writes it. */
export interface PolicyStatement {
  Sid: string
  Effect: "Allow"
  Principal: "*" | { Service: string } | { AWS: string }
  Action: string
  Resource: string
  Condition?: Record<string, Record<string, string>>
}
