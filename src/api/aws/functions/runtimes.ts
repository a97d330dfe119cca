/** Which runtimes there are, and AWS's words for those there aren't. */
import { isRuntimeName, RUNTIMES } from "../../../../images/runtimes/runtimes.ts"
import { invalid } from "../../../../machines/functions/refusals.ts"

/** Every name that AWS has or had for one: a layer may say that it is for any of them. */
export const KNOWN_RUNTIMES = [
  "dotnet10",
  "dotnet6",
  "dotnet8",
  "dotnetcore1.0",
  "dotnetcore2.0",
  "dotnetcore2.1",
  "dotnetcore3.1",
  "go1.x",
  "java11",
  "java11.al2023",
  "java17",
  "java17.al2023",
  "java21",
  "java25",
  "java8",
  "java8.al2",
  "java8.al2023",
  "nodejs",
  "nodejs10.x",
  "nodejs12.x",
  "nodejs14.x",
  "nodejs16.x",
  "nodejs18.x",
  "nodejs20.x",
  "nodejs22.x",
  "nodejs24.x",
  "nodejs26.x",
  "nodejs4.3",
  "nodejs4.3-edge",
  "nodejs6.10",
  "nodejs8.10",
  "provided",
  "provided.al2",
  "provided.al2023",
  "python2.7",
  "python3.10",
  "python3.11",
  "python3.12",
  "python3.13",
  "python3.14",
  "python3.15",
  "python3.6",
  "python3.7",
  "python3.8",
  "python3.9",
  "ruby2.5",
  "ruby2.7",
  "ruby3.2",
  "ruby3.3",
  "ruby3.4",
  "ruby4.0",
] as const

/** Those that AWS has retired, by the one that it recommends instead. */
const retired: Record<string, string> = {
  nodejs: "nodejs24.x",
  "nodejs4.3": "nodejs24.x",
  "nodejs4.3-edge": "nodejs24.x",
  "nodejs6.10": "nodejs24.x",
  "nodejs8.10": "nodejs24.x",
  "nodejs10.x": "nodejs24.x",
  "nodejs12.x": "nodejs24.x",
  "nodejs14.x": "nodejs24.x",
  "python2.7": "python3.13",
  "python3.6": "python3.13",
  "python3.7": "python3.13",
  "ruby2.5": "ruby3.3",
  "ruby2.7": "ruby3.3",
  "go1.x": "provided.al2023",
  provided: "provided.al2023",
}

/** Refuses a runtime that there isn't, in AWS's words; `mapped` are names of the operator's. */
export const parseRuntime = (runtime: string, mapped: readonly string[]): string => {
  if (isRuntimeName(runtime) || mapped.includes(runtime)) return runtime
  const instead = Object.hasOwn(retired, runtime) ? retired[runtime] : undefined
  if (instead !== undefined)
    throw invalid(
      `The runtime parameter of ${runtime} is no longer supported for creating or updating AWS Lambda functions. We recommend you use a supported runtime (${instead}) while creating or updating functions.`,
    )
  throw invalid(
    `Value ${runtime.slice(0, 256)} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [${[...Object.keys(RUNTIMES), ...mapped].join(", ")}] or be a valid ARN`,
  )
}
