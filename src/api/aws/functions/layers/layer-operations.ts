import type { LayerVersion } from "../../../../../machines/functions/layers/layers.ts"
import { layerArn } from "../../../../../machines/functions/names.ts"
import type { Functions } from "../../../../../machines/functions/resources.ts"
import type { Scope } from "../../../../../machines/resources.ts"
import { operation, type Operation } from "../../operation.ts"
import { toPageToken } from "../../page-token.ts"
import { MAX_CODE_REQUEST_BYTES, parseCode } from "../code/code.ts"
import type { CodeLinks } from "../code/code-links.ts"
import { toTimeText } from "../function-bodies.ts"
import { parseLayer, parseLayerVersionArn } from "../identifiers.ts"
import {
  layerArnInput,
  layerVersionInput,
  listLayersInput,
  listLayerVersionsInput,
  publishLayerInput,
} from "./layer-shapes.ts"
import { parseMarker } from "../marker.ts"
import { addLayerPermissionInput, layerPolicyInput, removeLayerPermissionInput } from "../access/permission-shapes.ts"

const base = "/2018-10-31/layers"
const versions = `${base}/{LayerName}/versions`
const one = `${versions}/{VersionNumber}`

const toItem = (version: LayerVersion, scope: Scope) => ({
  LayerVersionArn: layerArn(scope, version.name, version.number),
  Version: version.number,
  Description: version.description,
  CreatedDate: toTimeText(version.createdAt),
  CompatibleRuntimes: version.runtimes,
  CompatibleArchitectures: version.architectures,
  LicenseInfo: version.licenseInfo,
})

const toBody = (version: LayerVersion, links: CodeLinks, host: string, scope: Scope) => ({
  Content: {
    Location: links.toCode(version.code.sha256, host, scope.region),
    CodeSha256: version.code.sha256,
    CodeSize: version.code.bytes,
  },
  LayerArn: layerArn(scope, version.name),
  ...toItem(version, scope),
})

/** The operations on layers and their permissions. */
export const createLayerOperations = ({ layers }: Functions, links: CodeLinks): Operation[] => [
  operation(
    "PublishLayerVersion",
    { method: "POST", path: versions, status: 201, maxBodyBytes: MAX_CODE_REQUEST_BYTES },
    publishLayerInput,
    async (input, { caller, host }) => {
      const request = {
        code: parseCode(input.Content),
        description: input.Description ?? "",
        licenseInfo: input.LicenseInfo ?? null,
        runtimes: input.CompatibleRuntimes ?? null,
        architectures: input.CompatibleArchitectures ?? null,
      }
      return toBody(await layers.publish(parseLayer(input.LayerName, caller), request, caller), links, host, caller)
    },
  ),

  operation(
    "GetLayerVersionByArn",
    { method: "GET", path: `${base}?find=LayerVersion`, status: 200 },
    layerArnInput,
    async (input, { caller, host }) => {
      const { name, number } = parseLayerVersionArn(input.Arn, caller)
      return toBody(await layers.get(name, number, caller), links, host, caller)
    },
  ),

  operation(
    "GetLayerVersion",
    { method: "GET", path: one, status: 200 },
    layerVersionInput,
    async (input, { caller, host }) =>
      toBody(await layers.get(parseLayer(input.LayerName, caller), input.VersionNumber, caller), links, host, caller),
  ),

  operation(
    "DeleteLayerVersion",
    { method: "DELETE", path: one, status: 204 },
    layerVersionInput,
    async (input, { caller }) => {
      await layers.remove(parseLayer(input.LayerName, caller), input.VersionNumber, caller)
      return undefined
    },
  ),

  operation(
    "ListLayerVersions",
    { method: "GET", path: versions, status: 200 },
    listLayerVersionsInput,
    async (input, call) => {
      const { caller } = call
      const name = parseLayer(input.LayerName, caller)
      const filter = { runtime: input.CompatibleRuntime, architecture: input.CompatibleArchitecture }
      const list = `versions of layer ${name} ${filter.runtime ?? ""} ${filter.architecture ?? ""}`
      const { items, next } = await layers.listVersions(name, filter, parseMarker(input, list, call), caller)
      return {
        LayerVersions: items.map((version) => toItem(version, caller)),
        NextMarker: toPageToken(next, list, call),
      }
    },
  ),

  operation("ListLayers", { method: "GET", path: base, status: 200 }, listLayersInput, async (input, call) => {
    const { caller } = call
    const filter = { runtime: input.CompatibleRuntime, architecture: input.CompatibleArchitecture }
    const list = `layers ${filter.runtime ?? ""} ${filter.architecture ?? ""}`
    const { items, next } = await layers.list(filter, parseMarker(input, list, call), caller)
    return {
      Layers: items.map((version) => ({
        LayerName: version.name,
        LayerArn: layerArn(caller, version.name),
        LatestMatchingVersion: toItem(version, caller),
      })),
      NextMarker: toPageToken(next, list, call),
    }
  }),

  operation(
    "AddLayerVersionPermission",
    { method: "POST", path: `${one}/policy`, status: 201 },
    addLayerPermissionInput,
    async (input, { caller }) => {
      const permission = {
        statementId: input.StatementId,
        action: input.Action,
        principal: input.Principal,
        organizationId: input.OrganizationId,
      }
      const name = parseLayer(input.LayerName, caller)
      const added = await layers.addPermission(name, input.VersionNumber, permission, input.RevisionId, caller)
      return { Statement: JSON.stringify(added.statement), RevisionId: added.revisionId }
    },
  ),

  operation(
    "GetLayerVersionPolicy",
    { method: "GET", path: `${one}/policy`, status: 200 },
    layerPolicyInput,
    async (input, { caller }) => {
      const found = await layers.policy(parseLayer(input.LayerName, caller), input.VersionNumber, caller)
      return { Policy: found.policy, RevisionId: found.revisionId }
    },
  ),

  operation(
    "RemoveLayerVersionPermission",
    { method: "DELETE", path: `${one}/policy/{StatementId}`, status: 204 },
    removeLayerPermissionInput,
    async (input, { caller }) => {
      const name = parseLayer(input.LayerName, caller)
      await layers.removePermission(name, input.VersionNumber, input.StatementId, input.RevisionId, caller)
      return undefined
    },
  ),
]
