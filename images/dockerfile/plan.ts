/** What a Dockerfile asks for, in order: steps that change the disk, and the settings that are in force at each of them. */
import type { Healthcheck, RunSettings } from "../../src/db/values.ts"
import { absolutePath, isSignal, parseMode, parsePorts, splitAtEquals, toPairs } from "./arguments.ts"
import { DockerfileError } from "./error.ts"
import { HEALTHCHECK_FLAGS, parseHealthcheck } from "./healthcheck.ts"
import { commandOf, inlineOf, scriptOf } from "./inline.ts"
import { splitInstructions, type Instruction } from "./instructions.ts"
import type { BaseConfig } from "./base-config.ts"
import { PIPES, type Step } from "./step.ts"
import { createTable } from "./table.ts"
import { expand, toExecForm, toWords, type Variables } from "./words.ts"

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
  readonly ground: Ground
  readonly steps: readonly Step[]
}

/** What a stage's disk begins with; another stage is told by its place in the plan. */
export type Ground =
  | { readonly kind: "scratch" }
  | { readonly kind: "managed" }
  | { readonly kind: "image"; readonly digest: string }
  | { readonly kind: "stage"; readonly stage: number }

export interface BaseImage {
  readonly digest: string
  readonly config: BaseConfig
}

export interface PlanOptions {
  /** The build's arguments. */
  readonly arguments?: Variables
  /** The stage that is built, by its name or number; the last by default. */
  readonly target?: string
  /** Called once for each image that the target needs; `platform` is what its FROM says. */
  readonly resolveImage: (reference: string, line: number, platform: string | null) => Promise<BaseImage>
}

/** What FROM may name for now; every one is the managed image. */
const MANAGED = /^(?:torpor\/debian:13|public\.ecr\.aws\/lambda\/microvms:al2023-minimal)$/

/** The environment that the managed image itself brings. */
const BASE_ENVIRONMENT = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" }

const NOT_YET = new Set(["ADD", "ONBUILD"])
/** Instructions with flags. */
const WITH_FLAGS = new Set(["COPY", "HEALTHCHECK", "RUN"])

const MAX_EXPOSED_PORTS = 1000
const MAX_SOURCES = 1000
const MAX_VOLUMES = 100
const MAX_PATH_CHARACTERS = 4096
const SHOWN_CHARACTERS = 1000

/** Reads a Dockerfile into a plan; throws {@link DockerfileError} with the line of what is wrong or not supported. */
export const planBuild = async (text: string, options: PlanOptions): Promise<BuildPlan> => {
  const { arguments: buildArguments = {} } = options
  const { escape, instructions } = splitInstructions(text)
  const steps: Step[] = []
  const globals = createTable("ARG")
  const args = createTable("ARG")
  const environment = createTable("ENV", BASE_ENVIRONMENT)
  const labels = createTable("LABEL")
  const exposedPorts = new Set<number>()
  let [base, workingDirectory, user] = ["", "/", ""]
  let command: string[] | undefined
  let entrypoint: { argv: string[]; isShell: boolean } | undefined
  const volumes = new Set<string>()
  let stopSignal: string | null = null
  let healthcheck: Healthcheck | null = null
  let stage: Pick<Stage, "line" | "text" | "name"> = { line: 1, text: "", name: null }
  let shell: readonly string[] = ["/bin/sh", "-c"]
  /** Made once for all the steps between two changes. */
  let inForce: Variables | undefined

  const variables = (): Variables =>
    base === "" ? globals.values() : (inForce ??= { ...args.values(), ...environment.values() })
  const words = ({ rest, line }: Instruction) => toWords(rest, variables(), escape, line)
  const one = ({ rest, line, keyword }: Instruction) =>
    expand(rest, variables(), escape, line) || fail(line, `${keyword} requires an argument`)

  const take: Record<string, (instruction: Instruction) => void> = {
    FROM({ rest, line }) {
      if (base !== "") fail(line, "several stages are not supported yet")
      const [name = "", as, ...more] = toWords(rest, globals.values(), escape, line)
      if (name === "") fail(line, "FROM requires an image")
      if (as !== undefined && (as.toUpperCase() !== "AS" || more.length !== 1))
        fail(line, "FROM requires either one or three arguments")
      if (!MANAGED.test(name))
        fail(line, `the base image '${name.slice(0, 200)}' is not supported yet: use torpor/debian:13`)
      base = name
      stage = { line, text: `FROM ${rest}`.slice(0, SHOWN_CHARACTERS), name: more[0]?.toLowerCase() ?? null }
    },
    ARG(instruction) {
      const { line } = instruction
      const given = words(instruction)
      if (given.length === 0) fail(line, "ARG requires at least one argument")
      for (const word of given) {
        const [name, value] = splitAtEquals(word)
        if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) fail(line, `'${name.slice(0, 60)}' is not a valid name`)
        const passed = Object.hasOwn(buildArguments, name) ? buildArguments[name] : undefined
        const known = passed ?? value ?? globals.values()[name]
        if (known !== undefined) (base === "" ? globals : args).set(name, known, line)
      }
      inForce = undefined
    },
    ENV(instruction) {
      for (const [name, value] of toPairs(instruction, variables(), escape))
        environment.set(name, value, instruction.line)
      inForce = undefined
    },
    LABEL(instruction) {
      for (const [name, value] of toPairs(instruction, variables(), escape)) labels.set(name, value, instruction.line)
    },
    WORKDIR(instruction) {
      workingDirectory = absolutePath(one(instruction), workingDirectory).replace(/(.)\/$/, "$1")
      steps.push({
        kind: "directory",
        line: instruction.line,
        text: textOf(instruction),
        path: workingDirectory,
        owner: user === "" ? null : user,
      })
    },
    USER: (instruction) => void (user = one(instruction)),
    EXPOSE(instruction) {
      const given = words(instruction).flatMap((word) => word.split(/\s+/).filter(Boolean))
      if (given.length === 0) fail(instruction.line, "EXPOSE requires at least one argument")
      for (const word of given) {
        const { from, to } = parsePorts(word, instruction.line) ?? { from: 1, to: 0 }
        if (to - from >= MAX_EXPOSED_PORTS) fail(instruction.line, `more than ${MAX_EXPOSED_PORTS} exposed ports`)
        for (let port = from; port <= to; port++) exposedPorts.add(port)
        if (exposedPorts.size > MAX_EXPOSED_PORTS)
          fail(instruction.line, `more than ${MAX_EXPOSED_PORTS} exposed ports`)
      }
    },
    CMD({ rest, line }) {
      command = rest === "" ? [] : (toExecForm(rest, line) ?? inShell(shell, rest))
    },
    ENTRYPOINT({ rest, line }) {
      const exec = rest === "" ? [] : toExecForm(rest, line)
      entrypoint = { argv: exec ?? inShell(shell, rest), isShell: exec === undefined }
      // Docker: an ENTRYPOINT forgets the CMD that a base brought; one of this Dockerfile stays.
    },
    SHELL({ rest, line }) {
      const given = toExecForm(rest, line) ?? []
      if (given.length === 0) fail(line, "SHELL requires the arguments to be in JSON form")
      // Every step behind it has them.
      if (given.join("").length > MAX_PATH_CHARACTERS)
        fail(line, `SHELL says more than ${MAX_PATH_CHARACTERS} characters`)
      shell = given
    },
    VOLUME({ rest, line }) {
      const given = toExecForm(rest, line) ?? rest.split(/\s+/).filter(Boolean)
      if (given.length === 0) fail(line, "VOLUME requires at least one argument")
      for (const word of given) {
        const path = expand(word, variables(), escape, line).trim()
        if (path === "") fail(line, "VOLUME specified can not be an empty string")
        if (path.length > MAX_PATH_CHARACTERS) fail(line, `a path of more than ${MAX_PATH_CHARACTERS} characters`)
        volumes.add(path)
      }
      if (volumes.size > MAX_VOLUMES) fail(line, `more than ${MAX_VOLUMES} volumes`)
    },
    STOPSIGNAL(instruction) {
      const given = one(instruction)
      if (!isSignal(given)) fail(instruction.line, `invalid signal: ${given.slice(0, 60)}`)
      stopSignal = given
    },
    HEALTHCHECK(instruction) {
      refuseFlags(instruction, HEALTHCHECK_FLAGS)
      healthcheck = parseHealthcheck(instruction, (check) => inShell(shell, check))
    },
    // Who wrote it changes nothing of what is run.
    MAINTAINER({ rest, line }) {
      if (rest === "") fail(line, "MAINTAINER requires an argument")
    },
    RUN(instruction) {
      const { rest, line } = instruction
      refuseFlags(instruction, [])
      const exec = toExecForm(rest, line)
      if (rest === "" || exec?.length === 0) fail(line, "RUN requires a command")
      const script = scriptOf(instruction)
      steps.push({
        kind: "run",
        line,
        text: textOf(instruction),
        argv: exec ?? (script === null ? inShell(shell, commandOf(instruction)) : [`${PIPES}/${script.name}`]),
        script,
        environment: variables(),
        workingDirectory,
        user,
        mounts: [],
        network: "default",
      })
    },
    COPY(instruction) {
      const { rest, line, flags } = instruction
      refuseFlags(instruction, ["chown", "chmod"])
      const exec = toExecForm(rest, line)
      const { files: inline, words: listed } =
        instruction.heredocs.length > 0
          ? inlineOf(instruction, variables(), escape)
          : { files: [], words: exec?.map((word) => expand(word, variables(), escape, line)) ?? words(instruction) }
      const sources = listed.slice(0, -1)
      if (listed.length === 0 || sources.length + inline.length === 0)
        fail(line, "COPY requires at least one source and a destination")
      if (sources.length + inline.length > MAX_SOURCES) fail(line, `more than ${MAX_SOURCES} sources`)
      const destination = absolutePath(listed.at(-1) ?? "", workingDirectory)
      if (sources.length + inline.length > 1 && !destination.endsWith("/"))
        fail(
          line,
          "When using COPY with more than one source file, the destination must be a directory and end with a /",
        )
      const flag = (name: string) => {
        const value = flags.find((candidate) => candidate.name === name)?.value
        return value === undefined ? null : expand(value, variables(), escape, line)
      }
      const mode = flag("chmod")
      steps.push({
        kind: "copy",
        line,
        text: textOf(instruction),
        from: { kind: "context" },
        sources,
        inline,
        remote: [],
        destination,
        owner: flag("chown"),
        mode: mode === null ? null : { kind: "octal", value: parseMode(mode, line) },
        link: false,
        excluded: [],
        parents: false,
        unpacked: "none",
      })
    },
  }

  for (const instruction of instructions) {
    const { keyword, line } = instruction
    const handler = take[keyword]
    if (handler === undefined)
      return fail(
        line,
        NOT_YET.has(keyword) ? `${keyword} is not supported yet` : `unknown instruction: ${keyword.slice(0, 60)}`,
      )
    if (base === "" && keyword !== "FROM" && keyword !== "ARG")
      fail(line, "no build stage in current context: FROM must come first")
    if (!WITH_FLAGS.has(keyword)) refuseFlags(instruction, [])
    handler(instruction)
  }
  if (base === "") fail(1, "there is no FROM")
  const argv = startOf(entrypoint, command)
  if (argv.length === 0) fail(instructions.at(-1)?.line ?? 1, "nothing says what to run: CMD or ENTRYPOINT is missing")
  return {
    stages: [{ ...stage, ground: { kind: "managed" }, steps }],
    proxies: {},
    settings: {
      argv,
      environment: { ...environment.values() },
      workingDirectory,
      user,
      exposedPorts: [...exposedPorts],
      labels: { ...labels.values() },
      volumes: [...volumes],
      stopSignal,
      healthcheck,
    },
  }
}

/** Docker's table: a shell ENTRYPOINT ignores CMD, an exec one gets it behind. */
const startOf = (
  entrypoint: { argv: string[]; isShell: boolean } | undefined,
  command: string[] | undefined,
): string[] =>
  entrypoint === undefined
    ? (command ?? [])
    : entrypoint.isShell
      ? entrypoint.argv
      : [...entrypoint.argv, ...(command ?? [])]

const inShell = (shell: readonly string[], text: string) => [...shell, text]

const textOf = ({ keyword, flags, rest }: Instruction) =>
  [keyword, ...flags.map(({ name, value }) => `--${name}=${value}`), rest].join(" ").slice(0, SHOWN_CHARACTERS)

const refuseFlags = ({ flags, keyword, line }: Instruction, known: readonly string[]) => {
  const unknown = flags.find(({ name }) => !known.includes(name))
  if (unknown !== undefined) fail(line, `${keyword} --${unknown.name.slice(0, 60)} is not supported yet`)
}

const fail = (line: number, message: string): never => {
  throw new DockerfileError(line, message)
}
