import { validationError } from "../../../errors.ts"

export type Direction = "ingress" | "egress"

const known: Record<Direction, readonly string[]> = {
  ingress: ["HTTP_INGRESS", "SHELL_INGRESS", "ALL_INGRESS", "NO_INGRESS"],
  egress: ["INTERNET_EGRESS"],
}
const defaults: Record<Direction, string> = { ingress: "HTTP_INGRESS", egress: "INTERNET_EGRESS" }

/** A managed connector's ARN. */
export const toConnectorArn = (name: string, region: string): string =>
  `arn:aws:lambda:${region}:aws:network-connector:aws-network-connector:${name}`

const parseConnector = (connector: string, direction: Direction, region: string, lenient: boolean): string => {
  if (lenient && known[direction].includes(connector)) return connector
  const match = /^arn:aws:lambda:([a-z0-9-]+):([a-z0-9]+):network-connector:(.+)$/.exec(connector)
  if (!match) throw validationError("Malformed network connector ARN")
  const [, itsRegion = "", owner = "", rest = ""] = match
  if (owner !== "aws") {
    throw validationError(
      `Torpor has no VPC network connectors; leave ${connector} out of ${direction}NetworkConnectors.`,
    )
  }
  const name = rest.replace(/^aws-network-connector:/, "")
  if (itsRegion !== region || name === rest || !/^[A-Z_]+$/.test(name))
    throw validationError("Malformed network connector ARN")
  if (!known[direction].includes(name)) {
    throw validationError(
      `${connector} is not an ${direction} network connector; use one of ${known[direction].join(", ")}.`,
    )
  }
  return name
}

/**
 * The names of the managed connectors that ARNs mean (bare names too when `lenient`); the default when none is given.
 * ALL_INGRESS among others passes here as on AWS, where it is refused when a shell token is asked for.
 */
export const parseConnectors = (
  connectors: readonly string[] | undefined,
  direction: Direction,
  region: string,
  lenient: boolean,
): string[] =>
  connectors === undefined || connectors.length === 0
    ? [defaults[direction]]
    : connectors.map((connector) => parseConnector(connector, direction, region, lenient))
