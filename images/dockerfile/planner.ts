/** Plans stages as they are needed: a stage's own are planned before it. */
import type { BaseConfig } from "./base-config.ts"
import { fail } from "./error.ts"
import { BARE, createImages, ownGround } from "./ground.ts"
import type { StageGround, PlanOptions, Stage } from "./plan.ts"
import { parsePlatform } from "./platform.ts"
import type { StageBuild } from "./stage/stage-build.ts"
import { obey } from "./stage/obey.ts"
import { createState } from "./stage/state.ts"
import { atTrigger, checkTriggers, readTrigger } from "./stage/trigger.ts"
import type { Source, Step } from "./step.ts"
import type { Escape, Instruction } from "./text/instructions.ts"
import type { Variables } from "./text/variable.ts"
import type { Lexer } from "./text/words.ts"
import type { WrittenBuild, WrittenStage } from "./written.ts"

/** Triggers are executed by every stage that stands on theirs. */
const MAX_STEPS = 2000
const SHOWN_CHARACTERS = 1000

interface Planned {
  /** Its place in the plan. */
  readonly stage: number
  readonly config: BaseConfig
  readonly arguments: Variables
}

interface Base {
  readonly ground: StageGround
  readonly config: BaseConfig
  readonly arguments: Variables
  /** Its triggers' own. */
  readonly escape: Escape
}

export interface Planner {
  /** Those that were needed, each behind those that it needs. */
  readonly stages: readonly Stage[]
  plan(written: WrittenStage): Promise<Planned>
}

/** A planner for one Dockerfile. */
export const createPlanner = (
  written: WrittenBuild,
  lexer: Lexer,
  { arguments: given = {}, resolveImage }: PlanOptions,
): Planner => {
  const stages: Stage[] = []
  const planned = new Map<WrittenStage, Planned>()
  const implied = new Map<string, number>()
  const imageOf = createImages(resolveImage)
  let steps = 0

  const plan = async (stage: WrittenStage): Promise<Planned> => {
    const known = planned.get(stage)
    if (known !== undefined) return known
    const { line } = stage.from
    const base = await baseOf(stage)
    const state = createState(base.config, base.arguments, line)
    const own: Step[] = []
    const build = (prefix: string): StageBuild => ({
      state,
      lexer,
      add(instruction, deed) {
        if (++steps > MAX_STEPS) fail(instruction.line, `more than ${MAX_STEPS} steps`)
        own.push({ ...deed, line: instruction.line, text: prefix + textOf(instruction) })
      },
      argumentOf: (name, otherwise) =>
        [given, { [name]: otherwise }, written.globals].find(
          (table) => Object.hasOwn(table, name) && table[name] !== undefined,
        )?.[name],
      sourceOf: (reference, at) => sourceOf(reference, at, stage),
    })
    checkTriggers(base.config.onBuild, line)
    const triggered = build("ONBUILD ")
    for (const text of base.config.onBuild)
      try {
        await obey(readTrigger(text, line, base.escape), triggered)
      } catch (error) {
        throw atTrigger(error, text, line)
      }
    const ordered = build("")
    for (const instruction of stage.instructions) await obey(instruction, ordered)
    const place = stages.push({ line, text: textOf(stage.from), name: stage.name, ground: base.ground, steps: own }) - 1
    const result: Planned = { stage: place, config: state.config(), arguments: state.arguments() }
    planned.set(stage, result)
    return result
  }

  const baseOf = async ({ ground, platform, from: { line }, number }: WrittenStage): Promise<Base> => {
    const wanted = platform === null ? null : parsePlatform(platform, line)
    const kind = ownGround(ground)
    if (kind !== undefined) return { ground: { kind }, config: BARE, arguments: {}, escape: "\\" }
    const below = written.stages.slice(0, number).findLast(({ name }) => name === ground.toLowerCase())
    if (below !== undefined) {
      const { stage, ...rest } = await plan(below)
      return { ground: { kind: "stage", stage }, ...rest, escape: lexer.escape }
    }
    // A stage further down is none yet, and may have the name of the image it stands on itself.
    const { digest, config } = await imageOf(ground, line, wanted)
    return { ground: { kind: "image", digest }, config, arguments: {}, escape: "\\" }
  }

  const sourceOf = async (reference: string, line: number, { number }: WrittenStage): Promise<Source> => {
    const invalid = (reason: string) => fail(line, `invalid from flag value ${reference.slice(0, 60)}: ${reason}`)
    if (reference === "") return { kind: "context" }
    if (reference.includes("$"))
      fail(line, `'${reference.slice(0, 60)}' doesn't support variable expansion, define alias stage instead`)
    const name = reference.toLowerCase()
    const isNumber = /^\d+$/.test(reference)
    const above = written.stages
      .slice(0, number)
      .findLast((stage) => (isNumber ? stage.number === Number(reference) : stage.name === name))
    if (above !== undefined) return { kind: "stage", stage: (await plan(above)).stage }
    if (isNumber || written.stages.some((stage) => stage.name === name))
      return invalid("refers to the stage itself or to one that comes later, or there is none")
    const kind = ownGround(reference)
    if (kind === undefined) return { kind: "image", digest: (await imageOf(reference, line, null)).digest }
    const stage =
      implied.get(kind) ?? stages.push({ line, text: `FROM ${reference}`, name: null, ground: { kind }, steps: [] }) - 1
    implied.set(kind, stage)
    return { kind: "stage", stage }
  }

  return { stages, plan }
}

const textOf = ({ keyword, flags, rest }: Instruction) =>
  [keyword, ...flags.map(({ name, value }) => `--${name}${value === null ? "" : `=${value}`}`), rest]
    .join(" ")
    .slice(0, SHOWN_CHARACTERS)
