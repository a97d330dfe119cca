/** WORKDIR and USER: where and as whom the steps behind them are executed, and the running image. */
import { fail } from "../error.ts"
import { absolutePath } from "../arguments/values.ts"
import type { Handlers, StageBuild } from "./stage-build.ts"
import type { Instruction } from "../text/instructions.ts"

/** What an instruction says, as one word. */
export const oneWord = ({ rest, line, keyword }: Instruction, { state, lexer }: StageBuild): string =>
  lexer.expand(rest, state.variables(), line) || fail(line, `${keyword} requires an argument`)

export const PLACE: Handlers = {
  WORKDIR(instruction, stage) {
    const { state } = stage
    state.workingDirectory = absolutePath(oneWord(instruction, stage), state.workingDirectory).replace(/(.)\/$/, "$1")
    stage.add(instruction, {
      kind: "directory",
      path: state.workingDirectory,
      owner: state.user === "" ? null : state.user,
    })
  },
  USER: (instruction, stage) => void (stage.state.user = oneWord(instruction, stage)),
}
