import type { Microvm, Microvms, RunRequest, Scope } from "../../../../machines/resources.ts"
import { validationError } from "../../../errors.ts"
import { MAX_PORT_RANGES, type PortRange } from "../../../tokens/tokens.ts"
import { operation, type Operation } from "../operation.ts"
import { parsePage, toPageToken } from "../page-token.ts"
import type { ValueOf } from "../shape.ts"
import { toEpochSeconds } from "../wire.ts"
import { parseConnectors, toConnectorArn } from "./connectors.ts"
import { parseImageIdentifier, parseMicrovmId, toImageArn, toMicrovmId } from "./identifiers.ts"
import { parseLogging } from "./settings.ts"
import { authTokenInput, listMicrovmsInput, microvmInput, runInput } from "./shapes.ts"

/** Makes the token that a MicroVM's endpoint asks for. */
export interface TokenMint {
  mint(grant: { vmId: string; ports: readonly PortRange[]; expirationSeconds: number }): Promise<string>
}

export interface MicrovmOperationsConfig {
  readonly lenient: boolean
  /** What follows a MicroVM's own label in its endpoint, e.g. `vm.localhost:7443`. */
  readonly endpointSuffix: string
}

const defaultDurationSeconds = 28_800

const toRunRequest = (input: ValueOf<typeof runInput>, scope: Scope, lenient: boolean): RunRequest => {
  const imageName = parseImageIdentifier(input.imageIdentifier, "body", scope, lenient)
  if (input.runHookPayload !== undefined) {
    throw validationError("The run hook must be enabled in the MicroVM image to pass the run hook payload.")
  }
  return {
    imageName,
    imageVersion: input.imageVersion,
    idlePolicy: input.idlePolicy
      ? {
          maxIdleSeconds: input.idlePolicy.maxIdleDurationSeconds,
          suspendedSeconds: input.idlePolicy.suspendedDurationSeconds,
          autoResume: input.idlePolicy.autoResumeEnabled,
        }
      : null,
    maximumDurationSeconds: input.maximumDurationInSeconds ?? defaultDurationSeconds,
    executionRoleArn: input.executionRoleArn ?? null,
    ingressConnectors: parseConnectors(input.ingressNetworkConnectors, "ingress", scope.region, lenient),
    egressConnectors: parseConnectors(input.egressNetworkConnectors, "egress", scope.region, lenient),
    logging: parseLogging(input.logging),
    clientToken: input.clientToken,
  }
}

const toMicrovmBody = (microvm: Microvm, scope: Scope, endpointSuffix: string) => ({
  egressNetworkConnectors: microvm.egressConnectors.map((name) => toConnectorArn(name, scope.region)),
  endpoint: `${microvm.endpointId}.${endpointSuffix}`,
  executionRoleArn: microvm.executionRoleArn,
  idlePolicy: microvm.idlePolicy && {
    autoResumeEnabled: microvm.idlePolicy.autoResume,
    maxIdleDurationSeconds: microvm.idlePolicy.maxIdleSeconds,
    suspendedDurationSeconds: microvm.idlePolicy.suspendedSeconds,
  },
  imageArn: toImageArn(microvm.imageName, scope),
  imageVersion: microvm.imageVersion,
  ingressNetworkConnectors: microvm.ingressConnectors.map((name) => toConnectorArn(name, scope.region)),
  maximumDurationInSeconds: microvm.maximumDurationSeconds,
  microvmId: toMicrovmId(microvm.id),
  startedAt: toEpochSeconds(microvm.startedAt),
  state: microvm.state,
  stateReason: microvm.stateReason,
  terminatedAt: toEpochSeconds(microvm.terminatedAt),
  terminationReasonCode: null,
})

const toMicrovmItem = (microvm: Microvm, scope: Scope) => ({
  imageArn: toImageArn(microvm.imageName, scope),
  imageVersion: microvm.imageVersion,
  microvmId: toMicrovmId(microvm.id),
  startedAt: toEpochSeconds(microvm.startedAt),
  state: microvm.state,
})

const toPortRange = (allowed: ValueOf<typeof authTokenInput>["allowedPorts"][number]): PortRange => {
  if (allowed.port !== undefined) return { from: allowed.port, to: allowed.port }
  if (allowed.range === undefined) return { from: 1, to: 65_535 }
  const { startPort, endPort } = allowed.range
  if (startPort > endPort)
    throw validationError(`Invalid port range ${startPort}-${endPort}: startPort must not be greater than endPort.`)
  return { from: startPort, to: endPort }
}

/** What is allowed, without what is allowed twice. */
const toPortRanges = (allowed: ValueOf<typeof authTokenInput>["allowedPorts"]): PortRange[] => {
  const ranges: PortRange[] = []
  for (const next of allowed.map(toPortRange).toSorted((a, b) => a.from - b.from)) {
    const last = ranges.at(-1)
    if (last === undefined || next.from > last.to + 1) ranges.push(next)
    else ranges[ranges.length - 1] = { from: last.from, to: Math.max(last.to, next.to) }
  }
  if (ranges.length <= MAX_PORT_RANGES) return ranges
  throw validationError(
    `allowedPorts has ${ranges.length} ranges of ports with others between them, and a token holds ${MAX_PORT_RANGES}: allow fewer, or wider ones.`,
  )
}

/** The operations on MicroVMs. */
export const createMicrovmOperations = (
  microvms: Microvms,
  mint: TokenMint,
  config: MicrovmOperationsConfig,
): Operation[] => {
  const { lenient, endpointSuffix } = config
  const base = "/2025-09-09/microvms"
  const one = `${base}/{microvmIdentifier}`

  return [
    operation("RunMicrovm", { method: "POST", path: base, status: 200 }, runInput, async (input, { caller }) =>
      toMicrovmBody(await microvms.run(toRunRequest(input, caller, lenient), caller), caller, endpointSuffix),
    ),

    operation("GetMicrovm", { method: "GET", path: one, status: 200 }, microvmInput, async (input, { caller }) =>
      toMicrovmBody(await microvms.get(parseMicrovmId(input.microvmIdentifier), caller), caller, endpointSuffix),
    ),

    operation("ListMicrovms", { method: "GET", path: base, status: 200 }, listMicrovmsInput, async (input, call) => {
      const { caller } = call
      const imageName =
        input.imageIdentifier === undefined
          ? undefined
          : parseImageIdentifier(input.imageIdentifier, "path", caller, lenient)
      const list = `microvms of ${imageName ?? ""} ${input.imageVersion ?? ""}`
      const page = parsePage(input.maxResults, input.nextToken, list, call)
      const { items, next } = await microvms.list({ imageName, imageVersion: input.imageVersion }, page, caller)
      return { items: items.map((microvm) => toMicrovmItem(microvm, caller)), nextToken: toPageToken(next, list, call) }
    }),

    operation(
      "SuspendMicrovm",
      { method: "POST", path: `${one}/suspend`, status: 200 },
      microvmInput,
      async (input, { caller }) => {
        await microvms.suspend(parseMicrovmId(input.microvmIdentifier), caller)
        return {}
      },
    ),

    operation(
      "ResumeMicrovm",
      { method: "POST", path: `${one}/resume`, status: 200 },
      microvmInput,
      async (input, { caller }) => {
        await microvms.resume(parseMicrovmId(input.microvmIdentifier), caller)
        return {}
      },
    ),

    operation(
      "TerminateMicrovm",
      { method: "DELETE", path: one, status: 200 },
      microvmInput,
      async (input, { caller }) => {
        await microvms.terminate(parseMicrovmId(input.microvmIdentifier), caller)
        return {}
      },
    ),

    operation(
      "CreateMicrovmAuthToken",
      { method: "POST", path: `${one}/auth-token`, status: 200 },
      authTokenInput,
      async (input, { caller }) => {
        const ports = toPortRanges(input.allowedPorts)
        const grant = { ports, expirationSeconds: input.expirationInMinutes * 60 }
        const { id } = await microvms.letIn(
          parseMicrovmId(input.microvmIdentifier),
          { kind: "token", ...grant },
          caller,
        )
        const token = await mint.mint({ vmId: id, ...grant })
        return { authToken: { "X-aws-proxy-auth": token } }
      },
    ),
  ]
}
