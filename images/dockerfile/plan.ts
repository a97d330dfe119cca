/** What a Dockerfile asks for, in order: steps that change the disk, and the settings that are in force at each of them. */
import type { RunSettings } from "../../src/db/values.ts"
import { DockerfileError } from "./error.ts"
import { splitInstructions, type Instruction } from "./instructions.ts"
import { expand, toExecForm, toWords, type Variables } from "./words.ts"

export interface RunStep {
  readonly kind: "run"
  readonly line: number
  /** As it is shown in the log. */
  readonly text: string
  readonly argv: readonly string[]
  readonly environment: Variables
  readonly workingDirectory: string
  readonly user: string
}

export interface CopyStep {
  readonly kind: "copy"
  readonly line: number
  readonly text: string
  /** Paths in the context, maybe with globs. */
  readonly sources: readonly string[]
  /** Absolute; with a slash at its end when it was written so. */
  readonly destination: string
  readonly owner: string | null
  readonly mode: number | null
}

/** WORKDIR makes its directory. */
export interface DirectoryStep {
  readonly kind: "directory"
  readonly line: number
  readonly text: string
  readonly path: string
  readonly owner: string | null
}

export type Step = RunStep | CopyStep | DirectoryStep

export interface BuildPlan {
  /** What FROM names. */
  readonly base: string
  readonly steps: readonly Step[]
  readonly settings: RunSettings
}

/** What FROM may name for now; every one is the managed image. */
const MANAGED = /^(?:torpor\/debian:13|public\.ecr\.aws\/lambda\/microvms:al2023-minimal)$/

/** The environment that the managed image itself brings. */
const BASE_ENVIRONMENT = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" }

const NOT_YET = new Set(["ADD", "HEALTHCHECK", "MAINTAINER", "ONBUILD", "SHELL", "STOPSIGNAL", "VOLUME"])

/** Reads a Dockerfile into a plan; throws {@link DockerfileError} with the line of what is wrong or not supported. */
export const planBuild = (text: string, buildArguments: Variables = {}): BuildPlan => {
  const { escape, instructions } = splitInstructions(text)
  const steps: Step[] = []
  const globals: Record<string, string> = {}
  const args: Record<string, string> = {}
  const environment: Record<string, string> = { ...BASE_ENVIRONMENT }
  const labels: Record<string, string> = {}
  const exposedPorts: number[] = []
  let [base, workingDirectory, user] = ["", "/", ""]
  let command: string[] | undefined
  let entrypoint: { argv: string[]; shell: boolean } | undefined

  const variables = (): Variables => ({ ...args, ...environment })
  const words = ({ rest, line }: Instruction) => toWords(rest, variables(), escape, line)
  const one = ({ rest, line, keyword }: Instruction) =>
    expand(rest, variables(), escape, line) || fail(line, `${keyword} requires an argument`)
  const pairs = (instruction: Instruction) => toPairs(instruction, variables(), escape)

  const take: Record<string, (instruction: Instruction) => void> = {
    FROM(instruction) {
      if (base !== "") fail(instruction.line, "several stages are not supported yet")
      const [name = "", as, ...more] = toWords(instruction.rest, globals, escape, instruction.line)
      if (name === "") fail(instruction.line, "FROM requires an image")
      if (as !== undefined && (as.toUpperCase() !== "AS" || more.length !== 1))
        fail(instruction.line, "FROM requires either one or three arguments")
      if (!MANAGED.test(name))
        fail(instruction.line, `the base image '${name}' is not supported yet: use torpor/debian:13`)
      base = name
    },
    ARG({ rest, line }) {
      for (const word of toWords(rest, base === "" ? globals : variables(), escape, line)) {
        const [name, value] = splitAt(word, "=")
        if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) fail(line, `'${name}' is not a valid name`)
        const given = buildArguments[name] ?? value ?? globals[name]
        if (given !== undefined) (base === "" ? globals : args)[name] = given
      }
    },
    ENV: (instruction) => void Object.assign(environment, pairs(instruction)),
    LABEL: (instruction) => void Object.assign(labels, pairs(instruction)),
    WORKDIR(instruction) {
      workingDirectory = absolute(`${one(instruction)}/.`, workingDirectory).replace(/(.)\/$/, "$1")
      steps.push({
        kind: "directory",
        line: instruction.line,
        text: textOf(instruction),
        path: workingDirectory,
        owner: null,
      })
    },
    USER: (instruction) => void (user = one(instruction)),
    EXPOSE(instruction) {
      for (const word of words(instruction)) {
        const [, first, last, protocol = "tcp"] = /^(\d+)(?:-(\d+))?(?:\/(tcp|udp))?$/i.exec(word) ?? []
        const [from, to] = [Number(first), Number(last ?? first)]
        if (first === undefined || from < 1 || to > 65535 || to < from)
          fail(instruction.line, `invalid containerPort: ${word}`)
        if (protocol.toLowerCase() === "tcp")
          for (let port = from; port <= to; port++) if (!exposedPorts.includes(port)) exposedPorts.push(port)
      }
    },
    CMD(instruction) {
      command = toExecForm(instruction.rest) ?? shell(instruction.rest)
    },
    ENTRYPOINT(instruction) {
      const exec = toExecForm(instruction.rest)
      entrypoint = { argv: exec ?? shell(instruction.rest), shell: exec === undefined }
      // Docker: an ENTRYPOINT forgets the CMD that a base brought; one of this Dockerfile stays.
    },
    RUN(instruction) {
      refuseFlags(instruction, [])
      if (/^<<-?\s*["']?\w/.test(instruction.rest)) fail(instruction.line, "heredocs are not supported yet")
      if (instruction.rest === "") fail(instruction.line, "RUN requires a command")
      steps.push({
        kind: "run",
        line: instruction.line,
        text: textOf(instruction),
        argv: toExecForm(instruction.rest) ?? shell(instruction.rest),
        environment: variables(),
        workingDirectory,
        user,
      })
    },
    COPY(instruction) {
      refuseFlags(instruction, ["chown", "chmod"])
      if (instruction.rest.startsWith("<<")) fail(instruction.line, "heredocs are not supported yet")
      const listed =
        toExecForm(instruction.rest)?.map((word) => expand(`"${word}"`, variables(), escape, instruction.line)) ??
        words(instruction)
      const sources = listed.slice(0, -1)
      const destination = listed.at(-1)
      if (destination === undefined || sources.length === 0)
        fail(instruction.line, "COPY requires at least one source and a destination")
      if (sources.length > 1 && !destination!.endsWith("/"))
        fail(
          instruction.line,
          "When using COPY with more than one source file, the destination must be a directory and end with a /",
        )
      const flag = (name: string) => instruction.flags.find((candidate) => candidate.name === name)?.value
      const owner = flag("chown")
      steps.push({
        kind: "copy",
        line: instruction.line,
        text: textOf(instruction),
        sources,
        destination: absolute(destination!, workingDirectory),
        owner: owner === undefined ? null : expand(owner, variables(), escape, instruction.line),
        mode: parseMode(flag("chmod"), instruction.line),
      })
    },
  }

  for (const instruction of instructions) {
    const { keyword, line } = instruction
    const handler = take[keyword]
    if (handler === undefined)
      fail(line, NOT_YET.has(keyword) ? `${keyword} is not supported yet` : `unknown instruction: ${keyword}`)
    if (base === "" && keyword !== "FROM" && keyword !== "ARG")
      fail(line, "no build stage in current context: FROM must come first")
    if (keyword !== "RUN" && keyword !== "COPY") refuseFlags(instruction, [])
    handler!(instruction)
  }
  if (base === "") fail(1, "there is no FROM")
  const argv = startOf(entrypoint, command)
  if (argv.length === 0) fail(instructions.at(-1)?.line ?? 1, "nothing says what to run: CMD or ENTRYPOINT is missing")
  return { base, steps, settings: { argv, environment, workingDirectory, user, exposedPorts, labels } }
}

/** Docker's table: a shell ENTRYPOINT ignores CMD, an exec one gets it behind. */
const startOf = (entrypoint: { argv: string[]; shell: boolean } | undefined, command: string[] | undefined): string[] =>
  entrypoint === undefined
    ? (command ?? [])
    : entrypoint.shell
      ? entrypoint.argv
      : [...entrypoint.argv, ...(command ?? [])]

const shell = (text: string) => ["/bin/sh", "-c", text]
const textOf = ({ keyword, flags, rest }: Instruction) =>
  [keyword, ...flags.map(({ name, value }) => `--${name}=${value}`), rest].join(" ")

const absolute = (path: string, from: string): string => {
  const parts: string[] = []
  for (const part of (path.startsWith("/") ? path : `${from}/${path}`).split("/")) {
    if (part === "..") parts.pop()
    else if (part !== "" && part !== ".") parts.push(part)
  }
  const joined = `/${parts.join("/")}`
  return /(^|\/)\.?$/.test(path) && joined !== "/" ? `${joined}/` : joined
}

const toPairs = (
  { rest, line, keyword }: Instruction,
  variables: Variables,
  escape: string,
): Record<string, string> => {
  const first = /^[^\s=]+/.exec(rest)?.[0] ?? ""
  // The old form: a name, blanks, and the rest of the line.
  if (rest[first.length] !== "=") {
    const value = rest.slice(first.length).trim()
    if (first === "" || value === "") fail(line, `${keyword} must have two arguments`)
    return { [first]: expand(value, variables, escape, line) }
  }
  return Object.fromEntries(
    toWords(rest, variables, escape, line).map((word): [string, string] => {
      const [name, value] = splitAt(word, "=")
      if (name === "" || value === undefined)
        fail(line, `Syntax error - can't find = in "${word}". Must be of the form: name=value`)
      return [name, value ?? ""]
    }),
  )
}

const splitAt = (text: string, mark: string): [string, string | undefined] => {
  const at = text.indexOf(mark)
  return at === -1 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)]
}

const parseMode = (text: string | undefined, line: number): number | null => {
  if (text === undefined) return null
  if (!/^[0-7]{3,4}$/.test(text))
    fail(line, `invalid chmod parameter: '${text}'. it should be octal string and between 0 and 07777`)
  return Number.parseInt(text, 8)
}

const refuseFlags = ({ flags, keyword, line }: Instruction, known: readonly string[]) => {
  const unknown = flags.find(({ name }) => !known.includes(name))
  if (unknown !== undefined) fail(line, `${keyword} --${unknown.name} is not supported yet`)
}

const fail = (line: number, message: string): never => {
  throw new DockerfileError(line, message)
}
