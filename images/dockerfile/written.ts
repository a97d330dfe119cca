/** A Dockerfile as it is written: what is said before the first FROM, and the stages behind. */
import { fail } from "./error.ts"
import { toArguments } from "./stage/variables.ts"
import { createTable } from "./arguments/table.ts"
import { readFlags } from "./text/flags.ts"
import type { Instruction } from "./text/instructions.ts"
import type { Variables } from "./text/variable.ts"
import type { Lexer } from "./text/words.ts"

export interface WrittenStage {
  readonly number: number
  readonly from: Instruction
  /** In small letters. */
  readonly name: string | null
  /** What it stands on, and for which platform, variables replaced. */
  readonly ground: string
  readonly platform: string | null
  readonly instructions: readonly Instruction[]
}

export interface WrittenBuild {
  /** What ARG makes known before the first FROM: to every FROM, and behind one to those who ask for it by name. */
  readonly globals: Variables
  readonly stages: readonly WrittenStage[]
}

const MAX_STAGES = 100
const MAX_NAME_CHARACTERS = 128

/** Splits instructions into stages. `known` is what needs no ARG, and `given` the build's arguments. */
export const splitStages = (
  instructions: readonly Instruction[],
  lexer: Lexer,
  known: Variables,
  given: Variables,
): WrittenBuild => {
  const globals = createTable("ARG", 1, known)
  for (const name of Object.keys(known)) if (Object.hasOwn(given, name)) globals.set(name, given[name] ?? "", 1)
  const stages: (WrittenStage & { instructions: Instruction[] })[] = []
  for (const instruction of instructions) {
    const { keyword, line, flags } = instruction
    const stage = stages.at(-1)
    if (keyword === "FROM") {
      if (stages.length === MAX_STAGES) fail(line, `more than ${MAX_STAGES} stages`)
      stages.push({
        ...parseFrom(instruction, globals.values(), lexer),
        number: stages.length,
        from: instruction,
        instructions: [],
      })
    } else if (stage !== undefined) stage.instructions.push(instruction)
    else if (keyword === "ARG") {
      readFlags(flags, {}, line)
      for (const [name, value] of toArguments(instruction, globals.values(), lexer)) {
        const meant = Object.hasOwn(given, name) ? given[name] : value
        if (meant !== undefined) globals.set(name, meant, line)
      }
    } else fail(line, "no build stage in current context: FROM must come first")
  }
  if (stages.length === 0) fail(1, "there is no FROM")
  return { globals: globals.values(), stages }
}

const parseFrom = (
  { rest, line, flags }: Instruction,
  globals: Variables,
  lexer: Lexer,
): Pick<WrittenStage, "name" | "ground" | "platform"> => {
  const platform = readFlags(flags, { platform: "text" }, line).text("platform")
  const [ground = "", as, name, ...more] = rest.split(/\s+/)
  if (more.length > 0 || (as !== undefined && (as.toUpperCase() !== "AS" || name === undefined)))
    fail(line, "FROM requires either one or three arguments")
  if (name !== undefined && (!/^[a-z][a-z0-9_.-]*$/i.test(name) || name.length > MAX_NAME_CHARACTERS))
    fail(
      line,
      `invalid name for build stage: "${name.slice(0, 60)}", name can't start with a number or contain symbols`,
    )
  const meant = lexer.expand(ground, globals, line).trim()
  if (ground === "" || meant === "") fail(line, "FROM requires an image")
  return {
    name: name?.toLowerCase() ?? null,
    ground: meant,
    platform: platform === null ? null : lexer.expand(platform, globals, line),
  }
}

/** The stage of this name or number; the last when none is said. */
export const findTarget = ({ stages }: WrittenBuild, target: string | undefined): WrittenStage => {
  if (target === undefined || target === "") return stages.at(-1)!
  return (
    stages.findLast(({ name }) => name === target.toLowerCase()) ??
    stages.find(({ number }) => String(number) === target) ??
    fail(1, `target stage "${target.slice(0, 60)}" could not be found`)
  )
}
