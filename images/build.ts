/** Executes a plan inside a build VM by way of its agent; it starts no VM itself. */
import { AgentError, type AgentClient } from "../src/agent/client.ts"
import type { FileSpec } from "../src/agent/protocol.ts"
import { failpoint } from "../src/failpoint.ts"
import { createLines } from "../src/logs/lines.ts"
import type { Archive } from "./archive.ts"
import { DockerfileError } from "./dockerfile/error.ts"
import type { BuildPlan, Stage } from "./dockerfile/plan.ts"
import { PIPES, type InlineFile, type RunStep, type Step } from "./dockerfile/step.ts"
import { resolveSources } from "./layers.ts"

/** A step that failed: the sentence names its line and the last thing it said. */
export class BuildError extends Error {
  override readonly name = "BuildError"
}

export interface BuildOptions {
  readonly agent: AgentClient
  readonly stage: Stage
  readonly archive: Archive
  readonly archiveBytes: number
  /** How many steps the disk has already: they are in the cache. */
  readonly cachedSteps: number
  /** Called with each finished step; resolves when its disk is kept. */
  readonly seal: (step: number) => Promise<void>
  /** A line of the build's log. */
  readonly log: (line: string) => void
  /** How long a step may take. */
  readonly stepTimeoutMs?: number
}

/** The one stage that can be executed for now; throws a {@link DockerfileError} on what can't. */
export const executableStageOf = ({ stages }: BuildPlan): Stage => {
  const [stage, more] = stages
  if (stage === undefined || more !== undefined)
    throw new DockerfileError(more?.line ?? 1, "several stages are not supported yet")
  const { kind } = stage.ground
  if (kind !== "managed")
    throw new DockerfileError(stage.line, "another base image than torpor/debian:13 is not supported yet")
  for (const step of stage.steps) {
    const refused =
      step.kind === "run"
        ? step.mounts.length > 0
          ? "RUN --mount"
          : step.network === "none" && "RUN --network=none"
        : step.kind === "copy" &&
          ((step.from.kind !== "context" && "COPY --from") ||
            (step.remote.length > 0 && "ADD of a URL") ||
            (step.unpacked !== "none" && "ADD") ||
            (step.mode?.kind === "symbolic" && "--chmod with letters") ||
            (step.link && "--link") ||
            (step.excluded.length > 0 && "--exclude") ||
            (step.parents && "--parents"))
    if (refused !== false) throw new DockerfileError(step.line, `${refused} is not supported yet`)
  }
  return stage
}

const STEP_TIMEOUT_MS = 30 * 60_000

/** The drives of a step's VM, and where on them the context is. */
export const [ARCHIVE_DRIVE, SCRATCH_DRIVE] = [0, 1]
const CONTEXT = { drive: SCRATCH_DRIVE, path: "/context" }
const SHOWN_CHARACTERS = 200
/** With the step's number before it, still a line of the log. */
const MAX_LINE_CHARACTERS = 8 * 1024

/** Says of steps that their disk is there. */
export const logCached = (steps: readonly Step[], log: BuildOptions["log"]): void =>
  steps.forEach((step, index) => log(`#${index + 1} ${step.text}\n#${index + 1} CACHED`))

/** Runs the steps that are not cached. Throws {@link BuildError} when one of them fails. */
export const executeSteps = async (options: BuildOptions, signal: AbortSignal): Promise<void> => {
  const { agent, stage, archive, archiveBytes, cachedSteps, seal, log } = options
  const pending = stage.steps.slice(cachedSteps)
  if (pending.some(({ kind }) => kind === "copy")) {
    await agent.mountDrive({ drive: SCRATCH_DRIVE, isReadOnly: false }, signal)
    const { excluded } = archive
    await agent.unpackContext({ archiveDrive: ARCHIVE_DRIVE, archiveBytes, into: CONTEXT, excluded }, signal)
  }
  for (const [index, step] of pending.entries()) {
    const number = cachedSteps + index + 1
    const startedAt = performance.now()
    log(`#${number} ${step.text}`)
    failpoint("build: step begun")
    await executeInTime(step, number, options, signal)
    await seal(number - 1)
    log(`#${number} DONE ${((performance.now() - startedAt) / 1000).toFixed(1)}s`)
  }
}

/** Whatever ends a step is told with its line: what the step did, that it took too long, or that its VM is gone. */
const executeInTime = async (step: Step, number: number, options: BuildOptions, signal: AbortSignal) => {
  const { stepTimeoutMs = STEP_TIMEOUT_MS } = options
  const patience = AbortSignal.timeout(stepTimeoutMs)
  try {
    await executeStep(step, number, options, AbortSignal.any([signal, patience]))
  } catch (error) {
    if (error instanceof BuildError || signal.aborted) throw error
    const reason = patience.aborted
      ? `took longer than ${stepTimeoutMs / 1000} s`
      : error instanceof AgentError || error instanceof DockerfileError
        ? error.message
        : `the build VM no longer answers (${(error as Error).message})`
    throw new BuildError(`Dockerfile line ${step.line}: ${step.text.slice(0, SHOWN_CHARACTERS)}: ${reason}`)
  }
}

const executeStep = async (
  step: Step,
  number: number,
  { agent, archive, log }: BuildOptions,
  signal: AbortSignal,
): Promise<void> => {
  switch (step.kind) {
    case "run":
      return run(step, number, agent, log, signal)
    case "copy":
      return agent.copy(
        {
          from: CONTEXT,
          where: "in the build context",
          sources: resolveSources(step, archive).map((path) => ({ path, dropped: 0 })),
          hasGlobs: false,
          inline: step.inline,
          destination: step.destination,
          owner: step.owner,
          mode: step.mode?.kind === "octal" ? step.mode.value.toString(8) : null,
          exclude: [],
          keepsParents: false,
          unpacks: false,
        },
        signal,
      )
    case "directory":
      return agent.makeDirectory({ path: step.path, owner: step.owner }, signal)
  }
}

const scriptFile = ({ name, content }: InlineFile): FileSpec => ({
  path: `${PIPES}/${name}`,
  content,
  mode: 0o755,
  uid: 0,
  gid: 0,
})

const run = async (
  step: RunStep,
  number: number,
  agent: AgentClient,
  log: (line: string) => void,
  signal: AbortSignal,
) => {
  const name = `step-${number}`
  const lines = createLines((line) => log(`#${number} ${line}`), MAX_LINE_CHARACTERS)
  await agent.startProcess(
    name,
    {
      argv: step.argv,
      env: step.environment,
      cwd: step.workingDirectory,
      user: step.user,
      capabilities: "default",
      memoryMaxMiB: null,
      files: step.script === null ? [] : [scriptFile(step.script)],
      container: "build",
    },
    signal,
  )
  const { code } = await agent.followOutput(name, lines.add, signal)
  lines.end()
  // What failed is not tidied up: its VM ends.
  if (code !== 0) throw new AgentError(`exit code ${code}${lines.last === "" ? "" : `: ${lines.last}`}`)
  await agent.endProcess(name, signal)
}
