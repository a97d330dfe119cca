import type { LoggingTarget } from "../../../db/values.ts"
import { validationError } from "../../../errors.ts"
import type { ValueOf } from "../shape.ts"
import type { createImageInput, runInput } from "./shapes.ts"

type ImageInput = ValueOf<typeof createImageInput>

/** Guest memory sizes that AWS takes. */
const memorySizesMiB = [512, 1024, 2048, 4096, 8192]
const defaultMemoryMiB = 2048

/** What the platform sets itself in every guest. */
const isReserved = (key: string) => key === "AWS_REGION" || key.startsWith("AWS_LAMBDA_")

/** Where logs go, as asked. */
export const parseLogging = (logging: ValueOf<typeof runInput>["logging"]): LoggingTarget | null => {
  if (logging === undefined) return null
  if (logging.disabled) return { kind: "disabled" }
  return { kind: "group", group: logging.cloudWatch?.logGroup ?? null, stream: logging.cloudWatch?.logStream ?? null }
}

/** Where logs go, as the wire says it. */
export const toLogging = (target: LoggingTarget | null) =>
  target === null
    ? null
    : target.kind === "disabled"
      ? { disabled: {} }
      : { cloudWatch: { logGroup: target.group, logStream: target.stream } }

/** The guest's memory, as asked. */
export const parseMemoryMiB = (resources: ImageInput["resources"]): number => {
  const memoryMiB = resources?.[0]?.minimumMemoryInMiB ?? defaultMemoryMiB
  if (memorySizesMiB.includes(memoryMiB)) return memoryMiB
  throw validationError(`minimumMemoryInMiB ${memoryMiB} is not supported; use one of ${memorySizesMiB.join(", ")}.`)
}

/** The guest's environment, as asked; throws for what the platform sets itself. */
export const parseEnvironment = (variables: Record<string, string> | undefined): Record<string, string> => {
  const reserved = Object.keys(variables ?? {}).find(isReserved)
  if (reserved !== undefined) throw validationError(`Environment variable key '${reserved}' is reserved`)
  return variables ?? {}
}

/** The artifact's place, as asked: `s3://bucket/key`. */
export const parseCodeArtifact = (artifact: ImageInput["codeArtifact"]): string => {
  const uri = artifact.uri ?? ""
  if (/^s3:\/\/[^/]+\/.+$/.test(uri)) return uri
  throw validationError(`Invalid codeArtifact uri '${uri}': it must be of the form s3://bucket/key.`)
}

/** Lifecycle hooks may be spoken of, but none is run yet: an enabled one would silently never be called. */
export const refuseEnabledHooks = (hooks: ImageInput["hooks"]): void => {
  const { run, resume, suspend, terminate } = hooks?.microvmHooks ?? {}
  const { ready, validate } = hooks?.microvmImageHooks ?? {}
  const runtime = [run, resume, suspend, terminate].includes("ENABLED")
  if (runtime && ready !== "ENABLED") {
    throw validationError(
      "The ready (/ready) MicroVM image hook must be enabled when any MicroVM lifecycle hook (run, resume, suspend, or terminate) is enabled.",
    )
  }
  if (runtime || ready === "ENABLED" || validate === "ENABLED") {
    throw validationError("Torpor does not run lifecycle hooks yet; leave hooks out or set every one to DISABLED.")
  }
}
