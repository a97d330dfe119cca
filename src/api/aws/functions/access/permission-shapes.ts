/** Inputs about resource policies, of functions and of layers (spec §2.1). */
import { boolean, integer, oneOf, optional, required, string, structure } from "../../shape.ts"
import { ofQualifier } from "../fields.ts"
import { ofLayerVersion } from "../layers/layer-shapes.ts"

const statementId = string({ min: 1, max: 100, pattern: "([a-zA-Z0-9-_]+)" })
const revision = { RevisionId: optional(string(), "query") } as const

export const addPermissionInput = structure({
  ...ofQualifier,
  StatementId: required(statementId),
  Action: required(string({ pattern: "(lambda:[*]|lambda:[a-zA-Z]+|[*])" })),
  Principal: required(string({ pattern: "[^\\s]+" })),
  SourceArn: optional(
    string({
      pattern:
        "arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\\-])+:((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1})?:(\\d{12})?:(.*)",
    }),
  ),
  FunctionUrlAuthType: optional(oneOf("NONE", "AWS_IAM")),
  InvokedViaFunctionUrl: optional(boolean()),
  SourceAccount: optional(string({ max: 12, pattern: "\\d{12}" })),
  EventSourceToken: optional(string({ min: 0, max: 256, pattern: "[a-zA-Z0-9._\\-]+" })),
  RevisionId: optional(string()),
  PrincipalOrgID: optional(string({ min: 12, max: 34, pattern: "o-[a-z0-9]{10,32}" })),
})
export const removePermissionInput = structure({
  ...ofQualifier,
  StatementId: required(string({ min: 1, max: 100, pattern: "([a-zA-Z0-9-_.]+)" }), "path"),
  ...revision,
})
export const getPolicyInput = structure(ofQualifier)

export const addLayerPermissionInput = structure({
  ...ofLayerVersion,
  StatementId: required(statementId),
  Action: required(string({ min: 0, max: 22, pattern: "lambda:GetLayerVersion" })),
  Principal: required(string({ pattern: "\\d{12}|\\*|arn:(aws[a-zA-Z-]*):iam::\\d{12}:root" })),
  OrganizationId: optional(string({ min: 0, max: 34, pattern: "o-[a-z0-9]{10,32}" })),
  RevisionId: optional(string(), "query"),
})
export const removeLayerPermissionInput = structure({
  ...ofLayerVersion,
  StatementId: required(statementId, "path"),
  ...revision,
})
export const layerPolicyInput = structure({ ...ofLayerVersion, VersionNumber: required(integer(), "path") })
