import type { Alias, Routing } from "../../../../../machines/functions/publishing/aliases.ts"
import { functionArn } from "../../../../../machines/functions/names.ts"
import { invalid } from "../../../../../machines/functions/refusals.ts"
import type { Functions } from "../../../../../machines/functions/resources.ts"
import type { Scope } from "../../../../../machines/resources.ts"
import { operation, type Operation } from "../../operation.ts"
import { toPageToken } from "../../page-token.ts"
import type { ValueOf } from "../../shape.ts"
import { toListed, toMade } from "../function-bodies.ts"
import { parseFunctionName } from "../identifiers.ts"
import { parseMarker } from "../marker.ts"
import {
  aliasInput,
  createAliasInput,
  listAliasesInput,
  listVersionsInput,
  publishVersionInput,
  updateAliasInput,
} from "./publishing-shapes.ts"
import { refusePublishTo } from "../settings/settings.ts"

const one = "/2015-03-31/functions/{FunctionName}"

/** An empty routing says that all requests go to one version; none that it stays as it is. */
const parseRouting = (config: ValueOf<typeof createAliasInput>["RoutingConfig"]): Routing | null | undefined => {
  if (config === undefined) return undefined
  const entries = Object.entries(config.AdditionalVersionWeights ?? {})
  if (entries.length > 1) throw invalid("Number of items in AdditionalVersionWeights cannot be greater than 1")
  const [first] = entries
  return first === undefined ? null : { version: first[0], weight: first[1] }
}

const toAliasBody = (alias: Alias, scope: Scope) => ({
  AliasArn: functionArn(scope, alias.functionName, alias.name),
  Name: alias.name,
  FunctionVersion: alias.version,
  Description: alias.description,
  RoutingConfig:
    alias.routing === null ? null : { AdditionalVersionWeights: { [alias.routing.version]: alias.routing.weight } },
  RevisionId: alias.revisionId,
})

/** The operations on versions and aliases. */
export const createPublishingOperations = ({ versions, aliases }: Functions): Operation[] => [
  operation(
    "PublishVersion",
    { method: "POST", path: `${one}/versions`, status: 201 },
    publishVersionInput,
    async (input, { caller }) => {
      refusePublishTo(input.PublishTo)
      const asked = { codeSha256: input.CodeSha256, description: input.Description, revisionId: input.RevisionId }
      return toMade(await versions.publish(parseFunctionName(input.FunctionName, caller), asked, caller), caller)
    },
  ),

  operation(
    "ListVersionsByFunction",
    { method: "GET", path: `${one}/versions`, status: 200 },
    listVersionsInput,
    async (input, call) => {
      const { caller } = call
      const name = parseFunctionName(input.FunctionName, caller)
      const list = `versions of ${name}`
      const { items, next } = await versions.list(name, parseMarker(input, list, call), caller)
      return {
        Versions: items.map((version) => toListed(version, caller)),
        NextMarker: toPageToken(next, list, call),
      }
    },
  ),

  operation(
    "CreateAlias",
    { method: "POST", path: `${one}/aliases`, status: 201 },
    createAliasInput,
    async (input, { caller }) => {
      const asked = {
        version: input.FunctionVersion,
        description: input.Description,
        routing: parseRouting(input.RoutingConfig),
        revisionId: undefined,
      }
      const name = parseFunctionName(input.FunctionName, caller)
      return toAliasBody(await aliases.create(name, input.Name, asked, caller), caller)
    },
  ),

  operation(
    "GetAlias",
    { method: "GET", path: `${one}/aliases/{Name}`, status: 200 },
    aliasInput,
    async (input, { caller }) =>
      toAliasBody(await aliases.get(parseFunctionName(input.FunctionName, caller), input.Name, caller), caller),
  ),

  operation(
    "UpdateAlias",
    { method: "PUT", path: `${one}/aliases/{Name}`, status: 200 },
    updateAliasInput,
    async (input, { caller }) => {
      const asked = {
        version: input.FunctionVersion,
        description: input.Description,
        routing: parseRouting(input.RoutingConfig),
        revisionId: input.RevisionId,
      }
      const name = parseFunctionName(input.FunctionName, caller)
      return toAliasBody(await aliases.update(name, input.Name, asked, caller), caller)
    },
  ),

  operation(
    "DeleteAlias",
    { method: "DELETE", path: `${one}/aliases/{Name}`, status: 204 },
    aliasInput,
    async (input, { caller }) => {
      await aliases.remove(parseFunctionName(input.FunctionName, caller), input.Name, caller)
      return undefined
    },
  ),

  operation(
    "ListAliases",
    { method: "GET", path: `${one}/aliases`, status: 200 },
    listAliasesInput,
    async (input, call) => {
      const { caller } = call
      const name = parseFunctionName(input.FunctionName, caller)
      const list = `aliases of ${name} ${input.FunctionVersion ?? ""}`
      const page = parseMarker(input, list, call)
      const { items, next } = await aliases.list(name, input.FunctionVersion, page, caller)
      return {
        Aliases: items.map((alias) => toAliasBody(alias, caller)),
        NextMarker: toPageToken(next, list, call),
      }
    },
  ),
]
