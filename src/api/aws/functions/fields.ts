/** What holds for the members that the inputs of Lambda's Functions API share (spec §2.1). */
import { integer, list, map, oneOf, optional, required, string, structure } from "../shape.ts"

const beforeName =
  "(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?"
const name = "([a-zA-Z0-9-_]+)"

/** Name, partial ARN or ARN, with or without a qualifier. */
export const functionName = string({
  min: 1,
  max: 140,
  pattern: `${beforeName}${name}(:(\\$LATEST|[a-zA-Z0-9-_]+))?`,
})
/** The same where the model has room for names that are longer. */
const namespacedName = string({
  min: 1,
  max: 256,
  pattern: `${beforeName}([a-zA-Z0-9-_\\.]+)(:(\\$LATEST(\\.PUBLISHED)?|[a-zA-Z0-9-_]+))?`,
})
const unqualifiedName = string({ min: 1, max: 140, pattern: `${beforeName}${name}` })
export const aliasName = string({ min: 1, max: 128, pattern: "(?!^[0-9]+$)([a-zA-Z0-9-_]+)" })
export const versionText = string({ min: 1, max: 1024, pattern: "(\\$LATEST(\\.PUBLISHED)?|[0-9]+)" })
export const description = string({ min: 0, max: 256 })
export const roleArn = string({ pattern: "arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+" })
export const handler = string({ min: 0, max: 128, pattern: "[^\\s]+" })
export const architecture = oneOf("x86_64", "arm64")
export const architectures = list(architecture, { min: 1, max: 1 })
export const layerArns = list(string({ min: 1, max: 2048 }))
export const tagKey = string({ min: 1, max: 128 })
export const tags = map(tagKey, string({ min: 0, max: 256 }))

/** The function: which of its names an operation takes is the model's choice. */
export const ofFunction = { FunctionName: required(functionName, "path") } as const
export const ofNamespaced = { FunctionName: required(namespacedName, "path") } as const
export const ofUnqualified = { FunctionName: required(unqualifiedName, "path") } as const
/** The function, or a version or alias of it. */
export const ofQualifier = {
  ...ofNamespaced,
  Qualifier: optional(string({ min: 1, max: 128, pattern: "\\$(LATEST(\\.PUBLISHED)?)|[a-zA-Z0-9-_$]+" }), "query"),
} as const

/** Lists of at most 50, though most take a number up to 10,000. */
export const page = (max: number) =>
  ({
    Marker: optional(string(), "query"),
    MaxItems: optional(integer({ min: 1, max }), "query"),
  }) as const

const anyArn =
  "arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\\-])+:((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1})?:(\\d{12})?:(.*)"

const destination = structure({
  Destination: optional(string({ min: 0, max: 350, pattern: `$|kafka://([^.]([a-zA-Z0-9\\-_.]{0,248}))|${anyArn}` })),
})
export const destinations = structure({ OnSuccess: optional(destination), OnFailure: optional(destination) })
export const deadLetter = structure({
  TargetArn: optional(string({ pattern: `(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()` })),
})
export const kmsKeyArn = string({ min: 0, max: 10_000, pattern: "(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()" })
