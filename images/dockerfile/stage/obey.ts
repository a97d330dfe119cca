import { readFlags } from "../text/flags.ts"
import type { Instruction } from "../text/instructions.ts"
import { COPY } from "./copy.ts"
import type { Handlers, StageBuild } from "./stage-build.ts"
import { PLACE } from "./place.ts"
import { RECORD } from "./record.ts"
import { RUN } from "./run.ts"
import { START } from "./start.ts"
import { VARIABLES } from "./variables.ts"

const HANDLERS: Handlers = { ...VARIABLES, ...PLACE, ...START, ...RECORD, ...RUN, ...COPY }
/** They read their flags themselves. */
const WITH_FLAGS = new Set(["ADD", "COPY", "HEALTHCHECK", "RUN"])

/** Does what an instruction of a stage says; throws DockerfileError. */
export const obey = async (instruction: Instruction, stage: StageBuild): Promise<void> => {
  const { keyword, flags, line } = instruction
  if (!WITH_FLAGS.has(keyword)) readFlags(flags, {}, line)
  await HANDLERS[keyword]?.(instruction, stage)
}
