import type { Source, Step } from "../step.ts"
import type { Instruction } from "../text/instructions.ts"
import type { Lexer } from "../text/words.ts"
import type { StageState } from "./state.ts"

/** A step without what its instruction says of itself. */
export type Deed = Step extends infer Each ? (Each extends Step ? Omit<Each, "line" | "text"> : never) : never

/** A stage that is being planned, as its instructions see it. */
export interface StageBuild {
  readonly state: StageState
  readonly lexer: Lexer
  add(instruction: Instruction, deed: Deed): void
  /** What ARG makes known: what the build's arguments say, or its own value, or what is known before the first FROM. */
  argumentOf(name: string, otherwise: string | undefined): string | undefined
  /** What `--from` names. */
  sourceOf(reference: string, line: number): Promise<Source>
}

/** Does what an instruction says; throws DockerfileError. */
export type Handler = (instruction: Instruction, stage: StageBuild) => void | Promise<void>
export type Handlers = Readonly<Record<string, Handler>>
