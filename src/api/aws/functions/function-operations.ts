import type { Functions } from "../../../../machines/functions/resources.ts"
import { operation, type Operation } from "../operation.ts"
import { toPageToken } from "../page-token.ts"
import { MAX_CODE_REQUEST_BYTES, parseCode } from "./code/code.ts"
import type { CodeLinks } from "./code/code-links.ts"
import { toConfiguration, toListed, toMade } from "./function-bodies.ts"
import { createFunctionInput, listFunctionsInput, updateCodeInput, updateSettingsInput } from "./function-shapes.ts"
import { parseFunction, parseFunctionName, parseNewName } from "./identifiers.ts"
import { parseMarker } from "./marker.ts"
import {
  changeSettings,
  parseEnvironment,
  parseSettings,
  refusePublishTo,
  refuseUnsupported,
  refuseUnsupportedCreation,
} from "./settings/settings.ts"
import { invalid } from "../../../../machines/functions/refusals.ts"
import { qualifiedInput } from "./settings/setting-shapes.ts"
import { checkTags } from "./tags.ts"

const base = "/2015-03-31/functions"
const one = `${base}/{FunctionName}`

/** The operations on functions as wholes, and on their `$LATEST`; `mapped` are runtimes of the operator's. */
export const createFunctionOperations = (
  { functions, updates }: Functions,
  links: CodeLinks,
  mapped: readonly string[],
): Operation[] => [
  operation(
    "CreateFunction",
    { method: "POST", path: base, status: 201, maxBodyBytes: MAX_CODE_REQUEST_BYTES },
    createFunctionInput,
    async (input, { caller }) => {
      const name = parseNewName(input.FunctionName, caller)
      refuseUnsupportedCreation(input)
      const request = {
        name,
        settings: parseSettings(input, mapped),
        environment: parseEnvironment(input.Environment),
        tags: checkTags(input.Tags ?? {}),
        code: parseCode(input.Code),
        publish: input.Publish ?? false,
      }
      return toMade(await functions.create(request, caller), caller)
    },
  ),

  operation(
    "GetFunction",
    { method: "GET", path: one, status: 200 },
    qualifiedInput,
    async (input, { caller, host }) => {
      const asked = parseFunction(input.FunctionName, input.Qualifier, caller)
      const { version, tags, reservedConcurrency } = await functions.get(asked, caller)
      return {
        Configuration: toConfiguration(version, asked.qualifier, caller),
        Code: { RepositoryType: "S3", Location: links.toCode(version.code.sha256, host, caller.region) },
        Tags: Object.keys(tags).length === 0 ? null : tags,
        Concurrency: reservedConcurrency === null ? null : { ReservedConcurrentExecutions: reservedConcurrency },
      }
    },
  ),

  operation(
    "GetFunctionConfiguration",
    { method: "GET", path: `${one}/configuration`, status: 200 },
    qualifiedInput,
    async (input, { caller }) => {
      const asked = parseFunction(input.FunctionName, input.Qualifier, caller)
      const { version } = await functions.get(asked, caller)
      return toConfiguration(version, asked.qualifier, caller)
    },
  ),

  operation("ListFunctions", { method: "GET", path: base, status: 200 }, listFunctionsInput, async (input, call) => {
    // Of a region are those that were replicated from it to the edge: none is.
    if (input.MasterRegion !== undefined && input.MasterRegion !== "ALL") return { Functions: [] }
    const { caller } = call
    const all = input.FunctionVersion === "ALL"
    const list = all ? "versions of all functions" : "functions"
    const { items, next } = await functions.list(all, parseMarker(input, list, call), caller)
    return {
      Functions: items.map((version) => (all ? toListed(version, caller) : toMade(version, caller))),
      NextMarker: toPageToken(next, list, call),
    }
  }),

  operation(
    "UpdateFunctionCode",
    { method: "PUT", path: `${one}/code`, status: 200, maxBodyBytes: MAX_CODE_REQUEST_BYTES },
    updateCodeInput,
    async (input, { caller }) => {
      const name = parseFunctionName(input.FunctionName, caller)
      refusePublishTo(input.PublishTo)
      if (input.ImageUri !== undefined)
        throw invalid("Please don't provide ImageUri when updating a function with packageType Zip.")
      const update = {
        code: parseCode(input),
        architectures: input.Architectures,
        publish: input.Publish ?? false,
        dryRun: input.DryRun ?? false,
        revisionId: input.RevisionId,
      }
      return toMade(await updates.updateCode(name, update, caller), caller)
    },
  ),

  operation(
    "UpdateFunctionConfiguration",
    { method: "PUT", path: `${one}/configuration`, status: 200 },
    updateSettingsInput,
    async (input, { caller }) => {
      const name = parseFunctionName(input.FunctionName, caller)
      refuseUnsupported(input)
      const update = {
        change: (settings: Parameters<typeof changeSettings>[0]) => changeSettings(settings, input, mapped),
        environment: parseEnvironment(input.Environment),
        revisionId: input.RevisionId,
      }
      return toMade(await updates.updateSettings(name, update, caller), caller)
    },
  ),

  operation(
    "DeleteFunction",
    { method: "DELETE", path: one, status: 204 },
    qualifiedInput,
    async (input, { caller }) => {
      await functions.remove(parseFunction(input.FunctionName, input.Qualifier, caller), caller)
      return undefined
    },
  ),
]
