import type { Microvms } from "../../../machines/resources.ts"
import { LOCAL_PATH, type Links } from "../../tokens/links.ts"
import { createJsonService, type ServiceContext } from "../aws/json-service.ts"
import { parseMicrovmId } from "../aws/microvms/identifiers.ts"
import { microvmsDialect } from "../aws/microvms/service.ts"
import { operation } from "../aws/operation.ts"
import { integer, optional, required, string, structure } from "../aws/shape.ts"

const DEFAULT_PORT = 8080

const linkInput = structure({
  microvmIdentifier: required(string({ min: 1, max: 256 }), "path"),
  port: optional(integer({ min: 1, max: 65_535 })),
  path: optional(string({ min: 1, max: 2048, pattern: LOCAL_PATH })),
  expirationInMinutes: required(integer({ min: 1, max: 60 })),
})

export interface LinksConfig {
  /** What follows a MicroVM's own label in its endpoint, e.g. `vm.localhost:7443`. */
  readonly endpointSuffix: string
}

/**
 * `POST /torpor/v1/microvms/<id>/links` `{port, path, expirationInMinutes}`: 200 `{url, expiresAt}`, a link that a browser opens, once,
 * before `expiresAt`, and that lets it into that port for so many minutes. A port other than 8080 has a host of its own, so that the
 * pages of two ports are two sites, each with its cookie.
 */
export const createLinksRoute = (
  microvms: Pick<Microvms, "letIn">,
  links: Pick<Links, "mint">,
  { endpointSuffix }: LinksConfig,
  context: ServiceContext,
) => {
  const create = operation(
    "CreateMicrovmLink",
    { method: "POST", path: "/torpor/v1/microvms/{microvmIdentifier}/links", status: 200 },
    linkInput,
    async ({ microvmIdentifier, port = DEFAULT_PORT, path = "/", expirationInMinutes }, { caller }) => {
      const expirationSeconds = expirationInMinutes * 60
      const access = { kind: "link", ports: [{ from: port, to: port }], expirationSeconds } as const
      const microvm = await microvms.letIn(parseMicrovmId(microvmIdentifier), access, caller)
      const { token, expiresAt } = await links.mint({ vmId: microvm.id, port, path, expirationSeconds })
      const prefix = port === DEFAULT_PORT ? "" : `${port}-`
      return {
        url: `https://${prefix}${microvm.endpointId}.${endpointSuffix}/.torpor/enter?link=${token}`,
        expiresAt: new Date(expiresAt * 1000).toISOString(),
      }
    },
  )
  return createJsonService(["torpor", "lambda"], microvmsDialect, [create], context)
}
