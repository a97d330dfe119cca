/** Resource policies: statements that allow, as AWS writes them. */
import type { PolicyStatement } from "../../../src/db/function-values.ts"
import { ServiceError } from "../../../src/errors.ts"
import { conflict, invalid, notFound } from "../refusals.ts"

const MAX_POLICY_BYTES = 20_480

export interface Permission {
  readonly statementId: string
  readonly action: string
  readonly principal: string
  readonly sourceArn?: string | undefined
  readonly sourceAccount?: string | undefined
  readonly eventSourceToken?: string | undefined
  readonly organizationId?: string | undefined
  readonly urlAuthType?: string | undefined
  readonly viaFunctionUrl?: boolean | undefined
}

const parsePrincipal = (principal: string): PolicyStatement["Principal"] => {
  if (principal === "*") return "*"
  if (/^\d{12}$/.test(principal)) return { AWS: `arn:aws:iam::${principal}:root` }
  if (/^arn:aws[a-z-]*:(iam|sts)::\d{12}:.+$/.test(principal)) return { AWS: principal }
  if (/^[a-z0-9-]+(\.[a-z0-9-]+)*\.(amazonaws\.com|amazonaws\.com\.cn|amazon\.com)$/.test(principal))
    return { Service: principal }
  throw invalid("The provided principal was invalid. Please check the principal and try again.")
}

const toCondition = (asked: Permission): Record<string, Record<string, string>> | undefined => {
  const equals = Object.entries({
    "AWS:SourceAccount": asked.sourceAccount,
    "lambda:FunctionUrlAuthType": asked.urlAuthType,
    "aws:PrincipalOrgID": asked.organizationId,
    "lambda:EventSourceToken": asked.eventSourceToken,
  }).flatMap(([key, value]) => (value === undefined ? [] : [[key, value] as const]))
  const condition = {
    ...(equals.length === 0 ? {} : { StringEquals: Object.fromEntries(equals) }),
    ...(asked.sourceArn === undefined ? {} : { ArnLike: { "AWS:SourceArn": asked.sourceArn } }),
    ...(asked.viaFunctionUrl === undefined
      ? {}
      : { Bool: { "lambda:InvokedViaFunctionUrl": String(asked.viaFunctionUrl) } }),
  }
  return Object.keys(condition).length === 0 ? undefined : condition
}

/** The document that statements make. */
export const toPolicyText = (statements: readonly PolicyStatement[]): string =>
  JSON.stringify({ Version: "2012-10-17", Id: "default", Statement: statements })

/** The statements with one more; throws AWS's refusals. */
export const addStatement = (
  statements: readonly PolicyStatement[],
  asked: Permission,
  resource: string,
): { statement: PolicyStatement; statements: PolicyStatement[] } => {
  if (statements.some(({ Sid }) => Sid === asked.statementId))
    throw conflict(
      `The statement id (${asked.statementId}) provided already exists. Please provide a new statement id, or remove the existing statement.`,
    )
  const condition = toCondition(asked)
  const statement: PolicyStatement = {
    Sid: asked.statementId,
    Effect: "Allow",
    Principal: parsePrincipal(asked.principal),
    Action: asked.action,
    Resource: resource,
    ...(condition === undefined ? {} : { Condition: condition }),
  }
  const all = [...statements, statement]
  const bytes = Buffer.byteLength(toPolicyText(all))
  if (bytes > MAX_POLICY_BYTES)
    throw new ServiceError(
      "PolicyLengthExceededException",
      400,
      `The final policy size (${bytes}) is bigger than the limit (${MAX_POLICY_BYTES}).`,
    )
  return { statement, statements: all }
}

/** The statements without one. */
export const removeStatement = (statements: readonly PolicyStatement[], statementId: string): PolicyStatement[] => {
  const left = statements.filter(({ Sid }) => Sid !== statementId)
  if (left.length === statements.length) throw notFound(`Statement ${statementId} is not found in resource policy.`)
  return left
}
