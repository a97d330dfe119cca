/** Executes a plan inside a build VM by way of its agent; it starts no VM itself. */
import type { AgentClient } from "../src/agent/client.ts"
import { failpoint } from "../src/failpoint.ts"
import type { Archive } from "./archive.ts"
import type { BuildPlan } from "./dockerfile/plan.ts"
import type { RunStep, Step } from "./dockerfile/step.ts"
import { resolveSources } from "./layers.ts"

/** A step that failed: the sentence names its line and the last thing it said. */
export class BuildError extends Error {
  override readonly name = "BuildError"
}

export interface BuildOptions {
  readonly agent: AgentClient
  readonly plan: BuildPlan
  readonly archive: Archive
  readonly archiveBytes: number
  /** How many steps the disk has already: they are in the cache. */
  readonly cachedSteps: number
  /** Called with each finished step; resolves when its disk is kept. */
  readonly seal: (step: number) => Promise<void>
  /** A line of the build's log. */
  readonly log: (line: string) => void
}

/** The unpacked context's limit; the scratch drive holds no more. */
const MAX_CONTEXT_MIB = 5 * 1024

/** Runs the steps that are not cached. Throws {@link BuildError} when one of them fails. */
export const executePlan = async (options: BuildOptions, signal: AbortSignal): Promise<void> => {
  const { agent, plan, archiveBytes, cachedSteps, seal, log } = options
  const pending = plan.steps.slice(cachedSteps)
  plan.steps.slice(0, cachedSteps).forEach((step, index) => log(`#${index + 1} ${step.text}\n#${index + 1} CACHED`))
  if (pending.some(({ kind }) => kind === "copy"))
    await agent.unpackContext({ archiveBytes, maxMiB: MAX_CONTEXT_MIB }, signal)
  for (const [index, step] of pending.entries()) {
    const number = cachedSteps + index + 1
    const startedAt = performance.now()
    log(`#${number} ${step.text}`)
    failpoint("build: step begun")
    await executeStep(step, number, options, signal)
    await seal(number - 1)
    log(`#${number} DONE ${((performance.now() - startedAt) / 1000).toFixed(1)}s`)
  }
}

const executeStep = async (
  step: Step,
  number: number,
  { agent, archive, log }: BuildOptions,
  signal: AbortSignal,
): Promise<void> => {
  const failed = (reason: string) =>
    new BuildError(`Dockerfile line ${step.line}: ${step.text.slice(0, 200)}: ${reason}`)
  switch (step.kind) {
    case "run":
      return run(step, number, agent, log, failed, signal)
    case "copy":
      return agent
        .copy(
          { sources: resolveSources(step, archive), destination: step.destination, owner: step.owner, mode: step.mode },
          signal,
        )
        .catch((error: Error) => Promise.reject(failed(error.message)))
    case "directory":
      return agent
        .makeDirectory({ path: step.path, owner: step.owner }, signal)
        .catch((error: Error) => Promise.reject(failed(error.message)))
  }
}

const run = async (
  step: RunStep,
  number: number,
  agent: AgentClient,
  log: (line: string) => void,
  failed: (reason: string) => BuildError,
  signal: AbortSignal,
) => {
  const name = `step-${number}`
  const lines = createLines((line) => log(`#${number} ${line}`))
  await agent
    .startProcess(
      name,
      {
        argv: step.argv,
        env: step.environment,
        cwd: step.workingDirectory,
        user: step.user,
        capabilities: "default",
        memoryMaxMiB: null,
        container: "build",
      },
      signal,
    )
    .catch((error: Error) => Promise.reject(failed(error.message)))
  try {
    const { code } = await agent.followOutput(name, lines.add, signal)
    lines.end()
    if (code !== 0) throw failed(`exit code ${code}${lines.last === "" ? "" : `: ${lines.last}`}`)
  } finally {
    await agent.endProcess(name, signal)
  }
}

const MAX_LINE_CHARACTERS = 2000

/** Lines out of pieces; a line without an end is cut. */
export const createLines = (onLine: (line: string) => void) => {
  let pending = ""
  const lines = {
    last: "",
    add(text: string) {
      const parts = (pending + text).split(/\r?\n/)
      pending = parts.pop() ?? ""
      if (pending.length > MAX_LINE_CHARACTERS) {
        parts.push(pending)
        pending = ""
      }
      for (const part of parts) {
        if (part.trim() !== "") lines.last = part.trim().slice(0, 300)
        onLine(part.slice(0, MAX_LINE_CHARACTERS))
      }
    },
    end() {
      if (pending !== "") lines.add("\n")
    },
  }
  return lines
}
