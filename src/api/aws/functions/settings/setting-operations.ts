import { functionArn, LATEST, runtimeVersionArn } from "../../../../../machines/functions/names.ts"
import { invalid } from "../../../../../machines/functions/refusals.ts"
import type { Functions } from "../../../../../machines/functions/resources.ts"
import { operation, type Operation } from "../../operation.ts"
import { parseFunction, parseFunctionName, parseTagged } from "../identifiers.ts"
import { CODE_LIMITS } from "../../../../../machines/functions/code/code-source.ts"
import {
  functionInput,
  namespacedInput,
  nothingInput,
  qualifiedInput,
  recursionInput,
  reserveInput,
  runtimeConfigInput,
  setRecursionInput,
  signingListInput,
  tagInput,
  taggedInput,
  untagInput,
} from "./setting-shapes.ts"
import { checkTags } from "../tags.ts"

const concurrency = (date: string) => `/${date}/functions/{FunctionName}/concurrency`
const recursion = "/2024-08-31/functions/{FunctionName}/recursion-config"
const runtime = "/2021-07-20/functions/{FunctionName}/runtime-management-config"
const signing = "/2020-06-30/functions/{FunctionName}/code-signing-config"
const tags = "/2017-03-31/tags/{Resource}"

/** The operations on what functions have as wholes, and on the account. */
export const createSettingOperations = ({ own }: Functions): Operation[] => [
  operation(
    "PutFunctionConcurrency",
    { method: "PUT", path: concurrency("2017-10-31"), status: 200 },
    reserveInput,
    async (input, { caller }) => {
      const name = parseFunctionName(input.FunctionName, caller)
      await own.reserve(name, input.ReservedConcurrentExecutions, caller)
      return { ReservedConcurrentExecutions: input.ReservedConcurrentExecutions }
    },
  ),

  operation(
    "DeleteFunctionConcurrency",
    { method: "DELETE", path: concurrency("2017-10-31"), status: 204 },
    functionInput,
    async (input, { caller }) => {
      await own.reserve(parseFunctionName(input.FunctionName, caller), null, caller)
      return undefined
    },
  ),

  operation(
    "GetFunctionConcurrency",
    { method: "GET", path: concurrency("2019-09-30"), status: 200 },
    functionInput,
    async (input, { caller }) => ({
      ReservedConcurrentExecutions: await own.concurrency(parseFunctionName(input.FunctionName, caller), caller),
    }),
  ),

  operation(
    "PutFunctionRecursionConfig",
    { method: "PUT", path: recursion, status: 200 },
    setRecursionInput,
    async (input, { caller }) => {
      await own.setRecursion(parseFunctionName(input.FunctionName, caller), input.RecursiveLoop, caller)
      return { RecursiveLoop: input.RecursiveLoop }
    },
  ),

  operation(
    "GetFunctionRecursionConfig",
    { method: "GET", path: recursion, status: 200 },
    recursionInput,
    async (input, { caller }) => ({
      RecursiveLoop: await own.recursion(parseFunctionName(input.FunctionName, caller), caller),
    }),
  ),

  operation(
    "PutRuntimeManagementConfig",
    { method: "PUT", path: runtime, status: 200 },
    runtimeConfigInput,
    async (input, { caller }) => {
      const asked = parseFunction(input.FunctionName, input.Qualifier, caller)
      const { UpdateRuntimeOn: updateOn, RuntimeVersionArn: arn } = input
      if ((updateOn === "Manual") !== (arn !== undefined))
        throw invalid(
          updateOn === "Manual"
            ? "You must specify the runtime version ARN when UpdateRuntimeOn is Manual."
            : `RuntimeVersionArn is not supported when UpdateRuntimeOn is ${updateOn}; leave it out.`,
        )
      const before = await own.runtimeConfig(asked, caller)
      const only = runtimeVersionArn(before.runtime, caller.region)
      if (arn !== undefined && arn !== only)
        throw invalid(`Runtime version ${arn} is not one of ${before.runtime}'s; the one there is is ${only}.`)
      await own.setRuntimeConfig(asked, { updateOn, runtimeVersionArn: arn ?? null }, caller)
      return {
        UpdateRuntimeOn: updateOn,
        FunctionArn: functionArn(caller, asked.name, asked.qualifier ?? LATEST),
        RuntimeVersionArn: arn ?? null,
      }
    },
  ),

  operation(
    "GetRuntimeManagementConfig",
    { method: "GET", path: runtime, status: 200 },
    qualifiedInput,
    async (input, { caller }) => {
      const asked = parseFunction(input.FunctionName, input.Qualifier, caller)
      const { updateOn, runtimeVersionArn: arn } = await own.runtimeConfig(asked, caller)
      return {
        UpdateRuntimeOn: updateOn,
        FunctionArn: functionArn(caller, asked.name, asked.qualifier ?? LATEST),
        RuntimeVersionArn: arn,
      }
    },
  ),

  operation("ListTags", { method: "GET", path: tags, status: 200 }, taggedInput, async (input, { caller }) => ({
    Tags: await own.tags(parseTagged(input.Resource, caller), caller),
  })),

  operation("TagResource", { method: "POST", path: tags, status: 204 }, tagInput, async (input, { caller }) => {
    const merged = (before: Record<string, string>) => checkTags({ ...before, ...input.Tags })
    await own.changeTags(parseTagged(input.Resource, caller), merged, caller)
    return undefined
  }),

  operation("UntagResource", { method: "DELETE", path: tags, status: 204 }, untagInput, async (input, { caller }) => {
    const without = (before: Record<string, string>) =>
      Object.fromEntries(Object.entries(before).filter(([key]) => !input.TagKeys.includes(key)))
    await own.changeTags(parseTagged(input.Resource, caller), without, caller)
    return undefined
  }),

  operation(
    "GetAccountSettings",
    { method: "GET", path: "/2016-08-19/account-settings", status: 200 },
    nothingInput,
    async (_input, { caller }) => {
      const { codeBytes, functions, reservedExecutions } = await own.account(caller)
      const { limits } = own
      return {
        AccountLimit: {
          TotalCodeSize: limits.codeBytes,
          CodeSizeUnzipped: CODE_LIMITS.unpackedBytes,
          CodeSizeZipped: CODE_LIMITS.zippedBytes,
          ConcurrentExecutions: limits.concurrentExecutions,
          UnreservedConcurrentExecutions: limits.concurrentExecutions - reservedExecutions,
        },
        AccountUsage: { TotalCodeSize: codeBytes, FunctionCount: functions },
      }
    },
  ),

  // No code signing configuration can be made, so none is anywhere: what only looks for one finds that.
  operation(
    "ListCodeSigningConfigs",
    { method: "GET", path: "/2020-04-22/code-signing-configs", status: 200 },
    signingListInput,
    async () => ({ CodeSigningConfigs: [] }),
  ),
  operation(
    "GetFunctionCodeSigningConfig",
    { method: "GET", path: signing, status: 200 },
    namespacedInput,
    async (input, { caller }) => {
      const name = parseFunctionName(input.FunctionName, caller)
      await own.tags(name, caller)
      return { FunctionName: name }
    },
  ),
  operation(
    "DeleteFunctionCodeSigningConfig",
    { method: "DELETE", path: signing, status: 204 },
    namespacedInput,
    async (input, { caller }) => {
      await own.tags(parseFunctionName(input.FunctionName, caller), caller)
      return undefined
    },
  ),
]
