/** A function's programs as processes of the guest: named trees, each in a container of its own beside the others. */
import { constants, existsSync, readdirSync, type Dirent } from "node:fs"
import { access } from "node:fs/promises"
import { join } from "node:path"
import type { ProcessSpec } from "../../../../src/agent/protocol.ts"
import { pathOnDrive } from "../../drives.ts"
import { resolveInImage } from "../../image-root.ts"
import type { Output } from "../../output.ts"
import type { ProcessTable } from "../../process-table.ts"
import { MAX_EXTENSIONS } from "../extensions.ts"
import type { LifeOptions, Program } from "./life.ts"

const EXTENSIONS = "/opt/extensions"

export const RUNTIME = "runtime"

/** Starts the runtime by its spec, unless one that waits becomes it, and each extension by the same with a command of its own. `api` is where they find the Runtime API, as `host:port`. */
export const createPrograms = (
  processes: ProcessTable,
  runtime: ProcessSpec,
  api: string,
  become?: (spec: ProcessSpec) => void,
): LifeOptions["start"] => {
  let extensions = 0
  return async (extension, onLine) => {
    // Names are people's, and may be anything; a number isn't.
    const name = extension === undefined ? RUNTIME : `extension-${extensions++}`
    if (extension !== undefined) await access(pathOf(runtime, extension), constants.X_OK)
    const argv = extension === undefined ? runtime.argv : [`${EXTENSIONS}/${extension}`]
    const env = { ...runtime.env, AWS_LAMBDA_RUNTIME_API: api }
    const isTaken = extension === undefined && become !== undefined
    if (isTaken) become({ ...runtime, env })
    else await processes.start(name, { ...runtime, argv, env })
    // What one that has waited said before was said in training.
    return toProgram(processes, name, onLine, !isTaken)
  }
}

/** A process that was started, as a life wants it; `wantsKept`: all that it has said is this life's. */
export const toProgram = (
  processes: ProcessTable,
  name: string,
  onLine: (line: string) => void,
  wantsKept: boolean,
): Program => {
  const letGo = hear(processes.output(name), onLine, wantsKept)
  return {
    ended: processes.ended(name),
    letGo,
    terminate: () => processes.terminate(name),
    kill: () => processes.end(name),
  }
}

/** The files of /opt/extensions, whether they can be run or not; none when it isn't there. */
export const findExtensions = (runtime: ProcessSpec): string[] => {
  const names = entriesOf(runtime)
    .filter((entry) => !entry.isDirectory())
    .map(({ name }) => name)
  if (names.length > MAX_EXTENSIONS)
    throw new Error(`${EXTENSIONS} has ${names.length} extensions: at most ${MAX_EXTENSIONS} are started`)
  return names.toSorted()
}

const entriesOf = (runtime: ProcessSpec): Dirent[] => {
  const path = pathOf(runtime, "")
  try {
    return existsSync(path) ? readdirSync(path, { withFileTypes: true }) : []
  } catch {
    return []
  }
}

/** Where the agent finds it: on the drive that is mounted over /opt for the programs, or in the image. */
const pathOf = ({ mounts = [] }: ProcessSpec, extension: string): string => {
  const opt = mounts.find((mount) => mount.kind === "bind" && mount.target === "/opt")
  return opt?.kind === "bind"
    ? resolveInImage(join(opt.path, "extensions", extension), pathOnDrive(opt.from))
    : resolveInImage(join(EXTENSIONS, extension))
}

/** What is said, by lines; the last may have no end. */
const hear = (output: Output, onLine: (line: string) => void, wantsKept: boolean): (() => void) => {
  const pending = { stdout: "", stderr: "" }
  return output.listen((frame) => {
    if ("end" in frame) for (const line of Object.values(pending)) if (line !== "") onLine(line)
    if (!("data" in frame)) return
    const lines = (pending[frame.stream] + frame.data).split("\n")
    pending[frame.stream] = (lines.pop() ?? "").slice(-MAX_LINE_CHARACTERS)
    for (const line of lines) onLine(line)
  }, wantsKept)
}

/** Of a line that doesn't end no more is held. */
const MAX_LINE_CHARACTERS = 256 * 1024
