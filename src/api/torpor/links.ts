import type { Microvms } from "../../../machines/resources.ts"
import { validationError } from "../../errors.ts"
import { LOCAL_PATH, type Links } from "../../tokens/links.ts"
import { createJsonService, type ServiceContext } from "../aws/json-service.ts"
import { parseMicrovmId, toMicrovmId } from "../aws/microvms/identifiers.ts"
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
  microvms: Pick<Microvms, "get">,
  links: Pick<Links, "mint">,
  { endpointSuffix }: LinksConfig,
  context: ServiceContext,
) => {
  const create = operation(
    "CreateMicrovmLink",
    { method: "POST", path: "/torpor/v1/microvms/{microvmIdentifier}/links", status: 200 },
    linkInput,
    async ({ microvmIdentifier, port = DEFAULT_PORT, path = "/", expirationInMinutes }, { caller }) => {
      const microvm = await microvms.get(parseMicrovmId(microvmIdentifier), caller)
      if (microvm.state === "TERMINATED")
        throw validationError(
          `The MicroVM ${toMicrovmId(microvm.id)} has been terminated and its state cannot be changed.`,
        )
      const to = { vmId: microvm.id, port, path, expirationSeconds: expirationInMinutes * 60 }
      const { token, expiresAt } = await links.mint(to)
      const prefix = port === DEFAULT_PORT ? "" : `${port}-`
      return {
        url: `https://${prefix}${microvm.endpointId}.${endpointSuffix}/.torpor/enter?link=${token}`,
        expiresAt: new Date(expiresAt * 1000).toISOString(),
      }
    },
  )
  return createJsonService(["torpor", "lambda"], microvmsDialect, [create], context)
}
