import { LATEST, type FunctionReference } from "../../../../machines/functions/names.ts"
import { invalid, noSuchResource, notFound } from "../../../../machines/functions/refusals.ts"
import type { Scope } from "../../../../machines/resources.ts"
import { ServiceError } from "../../../errors.ts"

const form =
  /^(?:arn:aws[a-zA-Z-]*:lambda:)?(?:(?<region>(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?(?:(?<account>\d{12}):)?(?:function:)?(?<name>[a-zA-Z0-9-_.]+)(?::(?<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9-_]+))?$/

/**
 * The function that an identifier means: its name, a part of its ARN or all of it, with or without a qualifier, which must be the one
 * that is said beside it. Throws AWS's refusals of what is elsewhere or somebody else's.
 */
export const parseFunction = (identifier: string, qualifier: string | undefined, scope: Scope): FunctionReference => {
  const { region, account, name = "", qualifier: inside } = form.exec(identifier)?.groups ?? {}
  if (region !== undefined && region !== scope.region)
    throw notFound(`Functions from '${region}' are not reachable in this region ('${scope.region}')`)
  // AWS's message of this one is null.
  if (account !== undefined && account !== scope.account)
    throw new ServiceError("AccessDeniedException", 403, "", { message: null })
  if (inside !== undefined && qualifier !== undefined && inside !== qualifier)
    throw invalid("The derived qualifier from the function name does not match the specified qualifier.")
  return { name, qualifier: inside ?? qualifier }
}

/** The function's name, where neither a version nor an alias is allowed. */
export const parseFunctionName = (identifier: string, scope: Scope): string => {
  const { name, qualifier } = parseFunction(identifier, undefined, scope)
  if (qualifier === undefined || qualifier === LATEST) return name
  throw invalid(
    "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN.",
  )
}

/** The name of a function that is to be: shorter than what is looked up by. */
export const parseNewName = (identifier: string, scope: Scope): string => {
  const name = parseFunctionName(identifier, scope)
  if (name.length > 64)
    throw invalid(
      `1 validation error detected: Value '${name}' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64`,
    )
  return name
}

/** The name of a layer: the name itself, or the ARN of one of the caller's. */
export const parseLayer = (identifier: string, scope: Scope): string => {
  if (!identifier.startsWith("arn:")) return identifier
  const [, , , region, account, , name = ""] = identifier.split(":")
  if (region !== scope.region || account !== scope.account) throw noSuchResource()
  return name
}

/** The layer version that an ARN means, of the caller's. */
export const parseLayerVersionArn = (arn: string, scope: Scope): { name: string; number: number } => {
  const number = Number(/:(\d{1,9})$/.exec(arn)?.[1])
  if (Number.isNaN(number)) throw noSuchResource()
  return { name: parseLayer(arn, scope), number }
}

/** The function whose tags an ARN means: a function's as a whole. */
export const parseTagged = (arn: string, scope: Scope): string => {
  if (!/^arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:function:[a-zA-Z0-9-_]+$/.test(arn))
    throw invalid(
      arn.includes(":function:")
        ? "Tags on function aliases and versions are not supported. Please specify either a function name or an unqualified function ARN."
        : `The resource ${arn.slice(0, 256)} cannot be tagged; give the ARN of a function.`,
    )
  return parseFunctionName(arn, scope)
}
