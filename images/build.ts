/** Executes a step of a plan inside a build VM by way of its agent; it starts no VM itself. */
import { createHash } from "node:crypto"
import { AgentError } from "../src/agent/agent-error.ts"
import type { AgentClient } from "../src/agent/client.ts"
import type { CopySpec, DrivePlace, FileSpec, MountSpec } from "../src/agent/protocol.ts"
import { failpoint } from "../src/failpoint.ts"
import { createLines } from "../src/logs/lines.ts"
import type { Archive } from "./archive.ts"
import { DockerfileError } from "./dockerfile/error.ts"
import type { Mount } from "./dockerfile/mount.ts"
import { PIPES, type CopyStep, type InlineFile, type RunStep, type Source } from "./dockerfile/step.ts"
import type { Variables } from "./dockerfile/text/variable.ts"
import { resolveSources, toSources, type LayerStep, type Link } from "./layers.ts"

/** A step that failed: the sentence names its line and the last thing it said. */
export class BuildError extends Error {
  override readonly name = "BuildError"
}

export interface StepOptions {
  readonly agent: AgentClient
  readonly archive: Archive
  /** Where a source's files are mounted. */
  readonly placeOf: (source: Source) => DrivePlace
  /** Room for what is fetched and for what may be written to, on a drive that is mounted. */
  readonly scratch: DrivePlace
  /** Where caches are kept from build to build. */
  readonly caches: DrivePlace
  /** Where an image's layers are, and how many. */
  readonly layers: { readonly from: DrivePlace; readonly count: number }
  /** Variables that every RUN has below its own. */
  readonly proxies: Variables
  readonly secretOf: (id: string) => string | undefined
  /** A line of the build's log. */
  readonly log: (line: string) => void
  /** How long a step may take. */
  readonly timeoutMs: number
}

const SHOWN_CHARACTERS = 200
/** With the step's number before it, still a line of the log. */
const MAX_LINE_CHARACTERS = 8 * 1024

/**
 * Executes a step. Whatever ends it is told with its line, as a {@link BuildError}: what it did, that it took too long, or that its VM is
 * gone.
 */
export const executeStep = async ({ step, number }: Link, options: StepOptions, signal: AbortSignal): Promise<void> => {
  const { timeoutMs, log } = options
  const patience = AbortSignal.timeout(timeoutMs)
  const say = (line: string) => log(number === null ? line : `#${number} ${line}`)
  const startedAt = performance.now()
  say(step.text)
  failpoint("build: step begun")
  try {
    await execute(step, `step-${number}`, { ...options, log: say }, AbortSignal.any([signal, patience]))
  } catch (error) {
    if (error instanceof BuildError || signal.aborted) throw error
    const reason = patience.aborted
      ? `took longer than ${timeoutMs / 1000} s, which is stepTimeoutSeconds of TORPOR_CONFIG`
      : error instanceof AgentError || error instanceof DockerfileError
        ? error.message
        : `the build VM no longer answers (${(error as Error).message})`
    throw new BuildError(`Dockerfile line ${step.line}: ${step.text.slice(0, SHOWN_CHARACTERS)}: ${reason}`)
  }
  say(`DONE ${((performance.now() - startedAt) / 1000).toFixed(1)}s`)
}

const execute = async (step: LayerStep, name: string, options: StepOptions, signal: AbortSignal): Promise<void> => {
  const { agent } = options
  switch (step.kind) {
    case "unpack":
      return agent.applyLayers(options.layers, signal)
    case "run":
      return run(step, name, options, signal)
    case "copy":
      return copy(step, options, signal)
    case "directory":
      return agent.makeDirectory({ path: step.path, owner: step.owner }, signal)
  }
}

const copy = async (step: CopyStep, options: StepOptions, signal: AbortSignal): Promise<void> => {
  const { agent, archive, scratch } = options
  const isContext = step.from.kind === "context"
  const spec: Omit<CopySpec, "from" | "sources" | "hasGlobs" | "inline" | "unpacks"> = {
    where: isContext ? "in the build context" : `in ${step.from.kind === "stage" ? "that stage" : "that image"}`,
    destination: step.destination,
    owner: step.owner,
    mode: step.mode,
    exclude: step.excluded,
    keepsParents: step.parents,
    replacesLinks: step.link,
  }
  if (step.sources.length + step.inline.length > 0)
    await agent.copy(
      {
        ...spec,
        // Heredocs alone are of no place.
        from: step.sources.length > 0 ? options.placeOf(step.from) : { drive: 0, path: "/" },
        sources: isContext ? resolveSources(step, archive) : toSources(step),
        hasGlobs: !isContext,
        inline: step.inline,
        unpacks: step.unpacked !== "none",
      },
      signal,
    )
  for (const { url, name, checksum } of step.remote) {
    const into = { ...scratch, path: `${scratch.path}/fetched` }
    await agent.download({ url, into, name, checksum }, signal)
    const sources = [{ path: name, dropped: 0 }]
    const unpacks = step.unpacked === "all"
    await agent.copy({ ...spec, from: into, sources, hasGlobs: false, inline: [], unpacks }, signal)
  }
}

const run = async (step: RunStep, name: string, options: StepOptions, signal: AbortSignal): Promise<void> => {
  const { agent, log, proxies } = options
  const secrets = secretsOf(step, options.secretOf)
  const lines = createLines(log, MAX_LINE_CHARACTERS)
  await agent.startProcess(
    name,
    {
      argv: step.argv,
      env: { ...proxies, ...step.environment, ...secrets.variables },
      cwd: step.workingDirectory,
      user: step.user,
      capabilities: "default",
      memoryMaxMiB: null,
      files: [...(step.script === null ? [] : [toScript(step.script)]), ...secrets.files],
      mounts: step.mounts.flatMap((mount) => toMountSpec(mount, options)),
      network: step.network === "none" ? "none" : "guest",
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

const toScript = ({ name, content }: InlineFile): FileSpec => ({
  path: `${PIPES}/${name}`,
  content,
  mode: 0o755,
  uid: 0,
  gid: 0,
})

const toMountSpec = (mount: Mount, { placeOf, scratch, caches }: StepOptions): MountSpec[] => {
  if (mount.kind === "secret") return []
  if (mount.kind === "tmpfs") return [mount]
  if (mount.kind === "bind") {
    const copyTo = mount.writable ? { ...scratch, path: `${scratch.path}/written` } : null
    return [{ kind: "bind", target: mount.target, from: placeOf(mount.from), path: mount.source, copyTo }]
  }
  const { target, mode, uid, gid, from } = mount
  const seed = from === null ? null : { from: placeOf(from), path: mount.source }
  // An id is any text.
  const name = createHash("sha256").update(mount.id).digest("hex")
  return [{ kind: "cache", target, on: caches, name, isReadOnly: !mount.writable, mode, uid, gid, seed }]
}

/** What the step gets of the operator's secrets; one that it requires and nobody has configured fails it. */
const secretsOf = ({ mounts, line, text }: RunStep, secretOf: StepOptions["secretOf"]) => {
  const files: FileSpec[] = []
  const variables: Record<string, string> = {}
  for (const mount of mounts) {
    if (mount.kind !== "secret") continue
    const content = secretOf(mount.id)
    if (content === undefined && mount.required)
      throw new BuildError(
        `Dockerfile line ${line}: ${text.slice(0, SHOWN_CHARACTERS)}: there is no secret '${mount.id.slice(0, 60)}': the operator names it under "secrets" in TORPOR_CONFIG`,
      )
    if (content === undefined) continue
    const { target, variable, mode, uid, gid } = mount
    if (target !== null) files.push({ path: target, content, mode, uid, gid })
    if (variable !== null) variables[variable] = content
  }
  return { files, variables }
}
