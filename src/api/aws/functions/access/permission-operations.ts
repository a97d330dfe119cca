import type { Functions } from "../../../../../machines/functions/resources.ts"
import { operation, type Operation } from "../../operation.ts"
import { parseFunction } from "../identifiers.ts"
import { addPermissionInput, getPolicyInput, removePermissionInput } from "./permission-shapes.ts"

const policy = "/2015-03-31/functions/{FunctionName}/policy"

/** The operations on functions' resource policies. */
export const createPermissionOperations = ({ permissions }: Functions): Operation[] => [
  operation(
    "AddPermission",
    { method: "POST", path: policy, status: 201 },
    addPermissionInput,
    async (input, { caller }) => {
      const permission = {
        statementId: input.StatementId,
        action: input.Action,
        principal: input.Principal,
        sourceArn: input.SourceArn,
        sourceAccount: input.SourceAccount,
        eventSourceToken: input.EventSourceToken,
        organizationId: input.PrincipalOrgID,
        urlAuthType: input.FunctionUrlAuthType,
        viaFunctionUrl: input.InvokedViaFunctionUrl,
      }
      const asked = parseFunction(input.FunctionName, input.Qualifier, caller)
      return { Statement: JSON.stringify(await permissions.add(asked, permission, input.RevisionId, caller)) }
    },
  ),

  operation(
    "RemovePermission",
    { method: "DELETE", path: `${policy}/{StatementId}`, status: 204 },
    removePermissionInput,
    async (input, { caller }) => {
      const asked = parseFunction(input.FunctionName, input.Qualifier, caller)
      await permissions.remove(asked, input.StatementId, input.RevisionId, caller)
      return undefined
    },
  ),

  operation("GetPolicy", { method: "GET", path: policy, status: 200 }, getPolicyInput, async (input, { caller }) => {
    const found = await permissions.get(parseFunction(input.FunctionName, input.Qualifier, caller), caller)
    return { Policy: found.policy, RevisionId: found.revisionId }
  }),
]
