import { MANAGED_IMAGES, type Scope } from "../../../../machines/resources.ts"
import { notFound, ServiceError, validationError } from "../../../errors.ts"

/** Where an identifier stands decides in which words AWS refuses a bare name. */
export type IdentifierPlace = "path" | "body"

const namePattern = /^[a-zA-Z0-9-_]{1,64}$/
const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** A custom image's ARN. */
export const toImageArn = (name: string, scope: Scope): string =>
  `arn:aws:lambda:${scope.region}:${scope.account}:microvm-image:${name}`

/** A managed image's ARN. */
export const toManagedImageArn = (name: string, region: string): string =>
  `arn:aws:lambda:${region}:aws:microvm-image:${name}`

/** A MicroVM's id on the wire. */
export const toMicrovmId = (id: string): string => `microvm-${id}`

/**
 * The name of the caller's image that an identifier means: its ARN or, when `lenient`, its bare name.
 * Throws AWS's refusals for everything else.
 */
export const parseImageIdentifier = (
  identifier: string,
  place: IdentifierPlace,
  scope: Scope,
  lenient: boolean,
): string => {
  if (!identifier.startsWith("arn:")) {
    if (lenient && namePattern.test(identifier)) return identifier
    throw validationError(
      place === "path" ? `Invalid ARN format: ${identifier}` : "Malformed ARN - doesn't start with 'arn:'",
    )
  }
  const denied = () =>
    new ServiceError("AccessDeniedException", 403, `The caller is not authorized to access resource: ${identifier}`)
  if (/^arn:[^:]*:[^:]*:[^:]*:[^:]*:microvm-image\//.test(identifier)) throw denied()
  const match = /^arn:aws:lambda:([a-z0-9-]*):([a-z0-9]*):microvm-image:(.+)$/.exec(identifier)
  if (!match) throw validationError(`Invalid ARN format: ${identifier}`)
  const [, region = "", account = "", name = ""] = match
  if (account === "aws") throw validationError("Image ARN must contain a valid customer account ID")
  if (account !== scope.account) throw denied()
  if (region !== scope.region || !namePattern.test(name)) {
    throw notFound(`MicroVMImage not found for MicroVMImageID: ${identifier}`)
  }
  return name
}

/** A MicroVM's bare uuid. An identifier that cannot be one belongs to no MicroVM. */
export const parseMicrovmId = (identifier: string): string => {
  const uuid = identifier.startsWith("microvm-") ? identifier.slice("microvm-".length).toLowerCase() : ""
  if (!uuidPattern.test(uuid)) throw notFound(`MicroVM not found: ${identifier}`)
  return uuid
}

/** A uuid that is somebody's id elsewhere (a build), `undefined` when it cannot be one. */
export const parseUuid = (text: string): string | undefined =>
  uuidPattern.test(text.toLowerCase()) ? text.toLowerCase() : undefined

/** Checks a managed image's ARN and version; `"1"` means `"1.0"`. The ARN itself is echoed as given, alias or not. */
export const parseBaseImage = (
  arn: string,
  version: string | undefined,
  region: string,
): { version: string | undefined } => {
  const managed = MANAGED_IMAGES.find(({ name, aliases }) =>
    [name, ...aliases].some((candidate) => toManagedImageArn(candidate, region) === arn),
  )
  if (version === undefined) {
    if (!managed) throw validationError(`No managed MicroVM Image with arn ${arn} is available`)
    return { version: undefined }
  }
  const normalised = /^\d+$/.test(version) ? `${version}.0` : version
  if (!managed?.versions.some((candidate) => candidate === normalised)) {
    throw validationError(`No managed MicroVM Image with arn ${arn} and version ${version} is available`)
  }
  return { version: normalised }
}
