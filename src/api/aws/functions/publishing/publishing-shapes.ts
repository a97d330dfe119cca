/** Inputs about versions and aliases (spec §2.1). */
import { map, number, oneOf, optional, required, string, structure } from "../../shape.ts"
import { aliasName, description, ofFunction, ofNamespaced, page, versionText } from "../fields.ts"

const routing = structure({
  AdditionalVersionWeights: optional(map(string({ min: 1, max: 1024, pattern: "[0-9]+" }), number({ min: 0, max: 1 }))),
})
const ofAlias = { ...ofFunction, Name: required(aliasName, "path") } as const

export const publishVersionInput = structure({
  ...ofFunction,
  CodeSha256: optional(string()),
  Description: optional(description),
  RevisionId: optional(string()),
  PublishTo: optional(oneOf("LATEST_PUBLISHED")),
})
export const listVersionsInput = structure({ ...ofNamespaced, ...page(10_000) })

export const createAliasInput = structure({
  ...ofFunction,
  Name: required(aliasName),
  FunctionVersion: required(versionText),
  Description: optional(description),
  RoutingConfig: optional(routing),
})
export const updateAliasInput = structure({
  ...ofAlias,
  FunctionVersion: optional(versionText),
  Description: optional(description),
  RoutingConfig: optional(routing),
  RevisionId: optional(string()),
})
export const aliasInput = structure(ofAlias)
export const listAliasesInput = structure({
  ...ofFunction,
  FunctionVersion: optional(versionText, "query"),
  ...page(10_000),
})
