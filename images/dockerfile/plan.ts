/** What a Dockerfile asks for: stages, each a ground and the steps that change its disk, and how the last of them is started. */
import type { RunSettings } from "../../src/db/values.ts"
import type { BaseConfig } from "./base-config.ts"
import { fail } from "./error.ts"
import { createPlanner } from "./planner.ts"
import { platformArguments } from "./platform.ts"
import { proxiesOf } from "./proxies.ts"
import { startOf } from "./stage/start.ts"
import type { Step } from "./step.ts"
import { splitInstructions } from "./text/instructions.ts"
import type { Variables } from "./text/variable.ts"
import { createLexer } from "./text/words.ts"
import { findTarget, splitStages } from "./written.ts"

export interface BuildPlan {
  /** Those that the target needs, each behind those that it needs itself; the target is the last. */
  readonly stages: readonly Stage[]
  /** How the target's image is started. */
  readonly settings: RunSettings
  /** HTTP_PROXY and its kind, as the build's arguments have them: every RUN finds them in its environment, below its own, and no disk depends on them. */
  readonly proxies: Variables
}

export interface Stage {
  readonly line: number
  /** Its FROM, as it is shown in the log. */
  readonly text: string
  /** In small letters. */
  readonly name: string | null
  readonly ground: StageGround
  readonly steps: readonly Step[]
}

/** What a stage's disk begins with; another stage is told by its place in the plan. */
export type StageGround =
  | { readonly kind: "scratch" }
  | { readonly kind: "managed" }
  | { readonly kind: "image"; readonly digest: string }
  | { readonly kind: "stage"; readonly stage: number }

export interface BaseImage {
  /** Equal for images with the same files. */
  readonly digest: string
  readonly config: BaseConfig
}

export interface PlanOptions {
  /** The build's arguments. */
  readonly arguments?: Variables
  /** The stage that is built, by its name or number; the last by default. */
  readonly target?: string | undefined
  /** Called once for each image that the target needs; `platform` is what its FROM says. */
  readonly resolveImage: (reference: string, line: number, platform: string | null) => Promise<BaseImage>
}

/** Reads a Dockerfile into a plan; throws DockerfileError with the line of what is wrong or not supported. */
export const planBuild = async (text: string, options: PlanOptions): Promise<BuildPlan> => {
  const { escape, instructions } = splitInstructions(text)
  const { arguments: given = {}, target } = options
  const nul = Object.keys(given).find((name) => name.includes("\0") || given[name]?.includes("\0"))
  if (nul !== undefined) fail(1, `the build argument '${nul.slice(0, 60)}' holds a NUL character`)
  const lexer = createLexer(escape)
  const known = platformArguments(target || "default")
  const written = splitStages(instructions, lexer, known, given)
  const wanted = findTarget(written, target)
  const planner = createPlanner(written, lexer, options)
  const { config } = await planner.plan(wanted)
  const argv = startOf(config)
  if (argv.length === 0)
    fail((wanted.instructions.at(-1) ?? wanted.from).line, "nothing says what to run: CMD or ENTRYPOINT is missing")
  return { stages: planner.stages, settings: toSettings(config, argv), proxies: proxiesOf(given) }
}

const toSettings = (config: BaseConfig, argv: string[]): RunSettings => ({
  argv,
  environment: { ...config.environment },
  workingDirectory: config.workingDirectory,
  user: config.user,
  exposedPorts: [...config.exposedPorts],
  labels: { ...config.labels },
  volumes: [...config.volumes],
  stopSignal: config.stopSignal,
  healthcheck: config.healthcheck,
  onBuild: [...config.onBuild],
})
